// The page's side of the worker: questions by number, and their answers.

const base = new URL(".", import.meta.url).href;

export class Editing {
  // `tell` gets a line of what is being done.
  constructor(tell) {
    this.tell = tell;
    this.asked = new Map();
    // A worker of a blob has the Content-Security-Policy of this page, which one of an address would not.
    const script = `import ${JSON.stringify(`${base}worker.js`)};`;
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    this.worker = new Worker(address, { type: "module" });
    this.worker.addEventListener("message", ({ data }) => this.answered(data));
    this.worker.addEventListener("error", () => {
      for (const { failed } of this.asked.values()) failed(new Error("the editor cannot be loaded; take a current browser"));
      this.asked.clear();
    });
  }

  answered({ number, told, answer, error }) {
    if (told) return this.tell(told);
    const { done, failed } = this.asked.get(number) ?? {};
    this.asked.delete(number);
    if (error) failed?.(new Error(error));
    else done?.(answer);
  }

  ask(what) {
    return new Promise((done, failed) => {
      const number = (this.last = (this.last ?? 0) + 1);
      this.asked.set(number, { done, failed });
      this.worker.postMessage({ number, ...what });
    });
  }

  // Load engine and model, and look at a picture {id, levels, width, height} if there is one.
  prepare(model, picture) {
    return this.ask({ model, base, picture });
  }

  // Edit a picture: gives {levels, caption, notes}.
  edit(model, picture, text, strength) {
    return this.ask({ model, base, picture, text, strength });
  }
}
