"""The page: the Gradio app, one module a tab."""
