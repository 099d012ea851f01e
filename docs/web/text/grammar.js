// Rules over words: the notation and the search of tgim/text/grammar.py.

const NOTATION = /[()[\]|*&~]|[^\s()[\]|*&~]+/g;

export class Grammar {
  // rules: in the notation; lists: by name, a Set of words or a function that tells whether a word is one of them.
  constructor(rules, lists) {
    this.rules = { ANY: one(() => true) };
    for (const [name, words] of Object.entries(lists)) {
      this.rules[name] = one(typeof words === "function" ? words : (word) => words.has(word));
    }
    for (const line of joined(rules)) {
      const at = line.indexOf("=");
      this.rules[line.slice(0, at).trim()] = this.choice(line.slice(at + 1).match(NOTATION) ?? []);
    }
  }

  // End of the first fit of a rule at a place; null if it does not fit there.
  match(rule, words, at = 0) {
    const { value, done } = this.rules[rule](words, at).next();
    return done ? null : value;
  }

  // Begin and end of the first place where a rule fits at least one word; null where there is none.
  find(rule, words, start = 0) {
    for (let i = start; i < words.length; i++) {
      const end = this.match(rule, words, i);
      if (end !== null && end > i) return [i, end];
    }
    return null;
  }

  findAll(rule, words) {
    const found = [];
    for (let next = this.find(rule, words); next; next = this.find(rule, words, next[1])) found.push(next);
    return found;
  }

  // Put `change` of the words that fit in their place, wherever a rule fits.
  rewrite(rule, words, change) {
    const written = [];
    let done = 0;
    for (const [start, end] of this.findAll(rule, words)) {
      written.push(...words.slice(done, start), ...change(words.slice(start, end)));
      done = end;
    }
    return [...written, ...words.slice(done)];
  }

  choice(symbols) {
    const ways = [this.sequence(symbols)];
    while (symbols[0] === "|") {
      symbols.shift();
      ways.push(this.sequence(symbols));
    }
    return ways.length === 1 ? ways[0] : either(ways);
  }

  sequence(symbols) {
    const steps = [];
    while (symbols.length && !["|", ")", "]"].includes(symbols[0])) steps.push(this.step(symbols));
    return steps.length === 1 ? steps[0] : afterEachOther(steps);
  }

  step(symbols) {
    const symbol = symbols.shift();
    if (symbol === "&" || symbol === "~") return ahead(this.step(symbols), symbol === "&");
    let found;
    if (symbol === "(" || symbol === "[") {
      found = this.choice(symbols);
      symbols.shift();
      if (symbol === "[") found = either([found, nothing]);
    } else if (symbol === symbol.toUpperCase() && symbol !== symbol.toLowerCase()) {
      found = (words, at) => this.rules[symbol](words, at);
    } else {
      found = one((word) => word === symbol);
    }
    if (symbols[0] === "*") {
      symbols.shift();
      found = repeated(found);
    }
    return found;
  }
}

function joined(rules) {
  const lines = [];
  for (const each of rules.split("\n").map((line) => line.split("#")[0].trimEnd())) {
    if (each.startsWith(" ") && lines.length) lines[lines.length - 1] += each;
    else if (each) lines.push(each);
  }
  return lines;
}

function one(fits) {
  return function* (words, at) {
    if (at < words.length && fits(words[at])) yield at + 1;
  };
}

function* nothing(words, at) {
  yield at;
}

function either(ways) {
  return function* (words, at) {
    for (const way of ways) yield* way(words, at);
  };
}

function afterEachOther(steps) {
  return function* matcher(words, at, step = 0) {
    if (step === steps.length) {
      yield at;
      return;
    }
    for (const end of steps[step](words, at)) yield* matcher(words, end, step + 1);
  };
}

function repeated(once) {
  return function* matcher(words, at) {
    for (const end of once(words, at)) if (end > at) yield* matcher(words, end);
    yield at;
  };
}

function ahead(what, wanted) {
  return function* (words, at) {
    if (!what(words, at).next().done === wanted) yield at;
  };
}
