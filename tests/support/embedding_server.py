"""A small OpenAI-style embedding server that holds a CLIP: `python embedding_server.py FOLDER` prints its port.

`POST /embeddings` takes `{"model", "input": [...], "modality": "text" | "image"}`, images as base64 data URIs, and
answers with `{"data": [{"index", "embedding"}, ...]}`. It knows transformers and nothing of ours, and ends with stdin.
"""

import base64
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

LARGEST = 64 << 20  # bytes of a request


class Embedder:
    def __init__(self, folder: str) -> None:
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    @torch.no_grad()
    def __call__(self, inputs: list[str], modality: str) -> list[list[float]]:
        if modality == "text":
            ids = self.processor(text=inputs, return_tensors="pt", padding=True, truncation=True)
            found = self.model.get_text_features(**ids)
        else:
            images = [Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))) for uri in inputs]
            found = self.model.get_image_features(**self.processor(images=images, return_tensors="pt"))
        vectors = torch.nn.functional.normalize(found.pooler_output, dim=-1)
        return vectors.tolist()


class Handler(BaseHTTPRequestHandler):
    embedder: Embedder

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        try:
            if self.path != "/embeddings" or length > LARGEST:
                raise ValueError(f"nothing to do for {length} bytes at {self.path}")
            asked = json.loads(self.rfile.read(length))
            if asked["model"] != "clip":
                raise ValueError(f"no model {asked['model']!r} here")
            vectors = self.embedder(asked["input"], asked.get("modality", "text"))
            self.answer(200, {"data": [{"index": n, "embedding": row} for n, row in enumerate(vectors)]})
        except Exception as error:
            self.answer(400, {"error": {"message": str(error)}})

    def answer(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    Handler.embedder = Embedder(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
