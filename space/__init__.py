"""The Gradio Space: `ui` and `tabs` draw, the other modules act and know no Gradio."""
