"""The Gradio Space: `ui` draws, `handlers` acts."""
