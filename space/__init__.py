"""The Gradio Space: inputs are bounded, services act, views write HTML, ui draws the page."""
