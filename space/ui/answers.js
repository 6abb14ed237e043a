// Gradio's client closes its stream of answers when the server says that no call is open. A call that joins while that
// is on its way takes the stream for an open one, and its answer is never read. Then another call opens a new stream.
(() => {
  const PATIENCE = 300; // milliseconds
  const ask = window.fetch.bind(window);
  const waiting = new Set(), answered = new Set(); // identifiers of calls; an answer can overtake its identifier
  let streams = 0;

  function closed() {
    streams -= 1;
    setTimeout(() => {
      if (streams || !waiting.size) return;
      waiting.clear(); // each call is helped once
      document.getElementById("wake")?.click();
    }, PATIENCE);
  }

  function joined({ event_id: call }) {
    if (call && !answered.delete(call)) waiting.add(call);
  }

  // Notes which calls are answered in what passes through.
  function read() {
    const decoder = new TextDecoder();
    let rest = "";
    return new TransformStream({
      transform(bytes, on) {
        on.enqueue(bytes);
        const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
        rest = lines.pop();
        for (const line of lines.filter((line) => line.includes("process_completed"))) {
          const { msg, event_id: call } = JSON.parse(line.slice(line.indexOf("{")));
          if (msg === "process_completed" && !waiting.delete(call)) answered.add(call);
        }
      },
    });
  }

  window.fetch = async (what, options) => {
    const address = new URL(what.url ?? what, location.href).pathname;
    if (address.endsWith("/queue/data")) {
      streams += 1;
      what.signal?.addEventListener("abort", closed, { once: true }); // how the client closes it
    }
    const response = await ask(what, options);
    if (address.endsWith("/queue/join") && response.ok) joined(await response.clone().json());
    if (!address.endsWith("/queue/data") || !response.ok) return response;
    return new Response(response.body.pipeThrough(read()), response);
  };
})();
