"""What the Space does: models, adapters, runs, downloads and pushes. Nothing here knows Gradio."""
