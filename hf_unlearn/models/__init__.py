"""Black boxes: a local CLIP, a remote Space, a pair of embedding functions; and any of them under an adapter."""
