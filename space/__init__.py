"""The Gradio Space: `ui`, `page`, `presence` and `tabs` know Gradio, the other modules act and know none of it."""
