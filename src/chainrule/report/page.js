"use strict";
// Steps through the graph and shows the factors of a weight. Every number was computed before and
// lies in this page; the script only unpacks and draws.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const graph = read("graph-data");
  const layers = read("weights-data");

  // --- numbers ---------------------------------------------------------------------------------
  const unpacked = new WeakMap();
  const numbers = (packed) => {
    if (!unpacked.has(packed)) {
      const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
      unpacked.set(packed, new Float32Array(bytes.buffer));
    }
    return unpacked.get(packed);
  };
  const show = (value) => {
    if (!Number.isFinite(value)) return String(value);
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-4 || size >= 1e7) return value.toExponential(3).replace("e+", "e");
    return String(Number(value.toPrecision(5)));
  };
  const shapeText = (shape) => (shape.length ? shape.join("×") : "scalar");
  const named = (label, index) => (index.length ? `${label}[${index.join(",")}]` : label);
  const indexOf = (shape, flat) => {
    const index = [];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index.unshift(flat % shape[axis]);
      flat = Math.floor(flat / shape[axis]);
    }
    return index;
  };
  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  // --- pictures of arrays ----------------------------------------------------------------------
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--cr-${name}`).trim();
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const grid = (shape, picture, widest = 32) => {
    if (picture) return picture;
    const size = shape.reduce((a, b) => a * b, 1);
    const last = shape.length ? shape[shape.length - 1] : 1;
    if (size / last > 1) return [size / last, last];
    if (last <= widest) return [1, last];
    const columns = Math.ceil(Math.sqrt(last * 2));
    return [Math.ceil(last / columns), columns];
  };
  // Draw numbers as cells: teal above zero, violet below; ink where `plain`.
  const paint = (canvas, values, rows, columns, options = {}) => {
    const room = options.width || 360;
    const high = Math.floor((options.height || 260) / rows);
    const cell = Math.max(2, Math.min(options.cell || 30, Math.floor(room / columns), high));
    canvas.width = cell * columns;
    canvas.height = cell * rows;
    const pen = canvas.getContext("2d");
    pen.fillStyle = colour("panel");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    let top = 0;
    for (const value of values) if (Number.isFinite(value)) top = Math.max(top, Math.abs(value));
    const [plus, minus, ink] = ["plus", "minus", "ink"].map((name) => rgb(colour(name)));
    const gap = cell > 6 ? 1 : 0;
    for (let i = 0; i < values.length; i++) {
      const strength = top ? Math.abs(values[i]) / top : 0;
      if (!(strength > 0)) continue;
      const [r, g, b] = options.plain ? ink : values[i] > 0 ? plus : minus;
      pen.fillStyle = `rgba(${r},${g},${b},${strength})`;
      pen.fillRect((i % columns) * cell, Math.floor(i / columns) * cell, cell - gap, cell - gap);
    }
    if (options.chosen !== undefined && options.chosen < values.length) {
      pen.strokeStyle = colour("ink");
      pen.lineWidth = 2;
      const x = (options.chosen % columns) * cell;
      const y = Math.floor(options.chosen / columns) * cell;
      pen.strokeRect(x + 1, y + 1, Math.max(cell - 2, 1), Math.max(cell - 2, 1));
    }
  };
  const picks = (canvas, count, columns, current, pick) => {
    canvas.onclick = (event) => {
      const box = canvas.getBoundingClientRect();
      const cell = box.width / columns;
      const column = Math.floor((event.clientX - box.left) / cell);
      const flat = Math.floor((event.clientY - box.top) / cell) * columns + column;
      if (flat >= 0 && flat < count) pick(flat);
    };
    canvas.onkeydown = (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      pick(Math.min(count - 1, Math.max(0, current() + move)));
    };
  };

  const nodes = new Map(graph.nodes.map((node) => [node.key, node]));

  // --- the stepper -------------------------------------------------------------------------------
  const forward = graph.nodes.map((node) => ({ node, turned: false }));
  const backward = graph.nodes.filter((node) => node.partial).reverse();
  const steps = forward.concat(backward.map((node) => ({ node, turned: true })));
  const drawn = new Map();
  for (const group of document.querySelectorAll("#graph-scroll .node")) {
    drawn.set(group.dataset.key, group);
  }
  const edges = [...document.querySelectorAll("#graph-scroll .edge")];
  const slider = byId("step-slider");
  const panel = byId("node-panel");
  let at = 0;
  let timer = 0;
  let chosen = 0;
  let looking = null; // a node that was clicked, instead of the step's own
  slider.max = steps.length;

  const mark = () => {
    const valued = new Set(steps.slice(0, at).filter((s) => !s.turned).map((s) => s.node.key));
    const slid = new Set(steps.slice(0, at).filter((s) => s.turned).map((s) => s.node.key));
    const step = at ? steps[at - 1] : null;
    for (const [key, group] of drawn) {
      group.classList.toggle("valued", valued.has(key));
      group.classList.toggle("slid", slid.has(key));
      const now = looking ? looking.key === key : step !== null && step.node.key === key;
      group.classList.toggle("now", now);
      group.classList.toggle("turned", Boolean(step && step.turned));
    }
    for (const edge of edges) {
      const [from, to] = edge.dataset.key.split("-");
      const key = step && step.node.key;
      const now = Boolean(step) && (step.turned ? from === key : to === key);
      edge.classList.toggle("now", now);
      edge.classList.toggle("turned", Boolean(step && step.turned));
    }
  };
  const follow = (key) => {
    const box = byId("graph-scroll");
    const group = drawn.get(key);
    if (!group) return;
    const outer = box.getBoundingClientRect();
    const inner = group.getBoundingClientRect();
    const top = inner.top - outer.top + box.scrollTop - (outer.height - inner.height) / 2;
    const inside = inner.left >= outer.left && inner.right <= outer.right;
    const middle = inner.left - outer.left + box.scrollLeft - (outer.width - inner.width) / 2;
    box.scrollTo({ top, left: inside ? box.scrollLeft : middle });
  };
  const stepText = () => {
    if (!at) return `0 of ${steps.length}`;
    const way = steps[at - 1].turned ? "back" : "forward";
    return `${at} of ${steps.length}, ${way}`;
  };
  const go = (to, from) => {
    at = Math.max(0, Math.min(steps.length, to));
    looking = null;
    if (from !== "pick") chosen = 0;
    slider.value = at;
    slider.setAttribute("aria-valuetext", stepText());
    byId("step-text").textContent = stepText();
    mark();
    if (!at) {
      panel.replaceChildren(element("p", "Step on to begin.", "muted"));
      return;
    }
    const step = steps[at - 1];
    if (from !== "pick") chosen = strongest(step.turned ? step.node.partial : step.node.value);
    tell(step.node, step.turned || at >= steps.length);
    follow(step.node.key);
  };
  const strongest = (packed) => {
    const values = numbers(packed);
    let best = 0;
    for (let i = 1; i < values.length; i++) if (Math.abs(values[i]) > Math.abs(values[best])) best = i;
    return best;
  };
  const reached = (node) => {
    const index = steps.findIndex((step) => step.turned && step.node === node);
    return index >= 0 && at > index;
  };

  const tell = (node) => {
    const withSlope = node.partial && reached(node);
    const parts = [element("h3", node.formula ? `${node.label} = ${node.formula}` : node.label)];
    const where = [shapeText(node.shape), node.scope && `layer ${node.scope}`, node.meaning];
    parts.push(element("p", where.filter(Boolean).join(" · "), "where"));
    const blocks = element("div", undefined, "blocks");
    blocks.append(block(node, node.value, "value", node.label, false));
    if (withSlope) blocks.append(block(node, node.partial, "partial derivative", node.name, true));
    parts.push(blocks);
    if (node.value.data && numbers(node.value).length > 1 && !node.value.shrunk) {
      parts.push(single(node, withSlope));
    } else if (node.rows.length && node.rows[0][1]) {
      parts.push(pluggedIn(node));
    }
    panel.replaceChildren(...parts);
  };
  const pluggedIn = (node) => {
    const box = element("div", undefined, "picked");
    box.append(element("p", `${node.label} = ${node.rows[0][0]}`, "formula"));
    box.append(element("p", `= ${node.rows[0][1]}`, "formula"));
    return box;
  };
  const block = (node, packed, title, label, back) => {
    const box = element("div", undefined, back ? "block back" : "block");
    const values = numbers(packed);
    const tone = back ? "backward" : "forward";
    box.append(element("h4", title));
    if (back) {
      const terms = node.backs.map((one) => one.symbols).join(" + ");
      box.append(element("p", terms ? `${label} = ${terms}` : label, "formula"));
      const plugged = node.backs.map((one) => one.numbers);
      if (plugged.length && plugged.every(Boolean)) {
        box.append(element("p", `= ${plugged.join(" + ")}`, "formula"));
      }
    }
    if (values.length === 1) {
      box.append(element("p", show(values[0]), `big ${tone}`));
      return box;
    }
    const [rows, columns] = grid(packed.shape, node.picture);
    const canvas = element("canvas");
    canvas.tabIndex = 0;
    const words = `${title} of ${node.label}: from ${show(packed.low)} to ${show(packed.high)}`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
    const room = Math.max(180, panel.clientWidth > 640 && node.partial
      ? panel.clientWidth / 2 - 60 : panel.clientWidth - 60);
    const plain = Boolean(node.picture) && !back;
    paint(canvas, values, rows, columns, { width: room, plain, chosen, cell: rows > 1 ? 16 : 26 });
    if (!packed.shrunk) picks(canvas, values.length, columns, () => chosen, (flat) => {
      chosen = flat;
      tell(node);
    });
    box.append(canvas);
    const range = `${show(packed.low)} to ${show(packed.high)}, length ${show(packed.length)}`;
    box.append(element("p", range, "where"));
    return box;
  };
  const single = (node, withSlope) => {
    const box = element("div", undefined, "picked");
    const index = indexOf(node.shape, chosen);
    const row = node.rows[chosen];
    const value = show(numbers(node.value)[chosen]);
    const feature = node.data ? graph.features[index[index.length - 1]] : "";
    if (feature) box.append(element("p", feature, "muted"));
    const lead = element("p", `${named(node.label, index)} = `);
    if (row) {
      lead.append(`${row[0]}`);
      box.append(lead);
      if (row[1]) box.append(element("p", `= ${row[1]}`));
      const last = element("p", "= ");
      last.append(element("strong", value, "forward"));
      box.append(last);
    } else {
      lead.append(element("strong", value, "forward"));
      box.append(lead);
    }
    if (withSlope) {
      const back = node.back_rows[chosen];
      const slope = element("p", `${named(node.name, index)} = `);
      if (back && back[1]) {
        slope.append(back[0]);
        box.append(slope, element("p", `= ${back[1]}`));
      }
      const last = back && back[1] ? element("p", "= ") : slope;
      last.append(element("strong", show(numbers(node.partial)[chosen]), "backward"));
      box.append(last);
    }
    return box;
  };

  const stop = () => {
    clearInterval(timer);
    timer = 0;
    const button = document.querySelector("[data-go=play]");
    button.querySelector("span").textContent = "play";
    button.setAttribute("aria-label", "play");
  };
  const play = () => {
    if (timer) return stop();
    if (at >= steps.length) go(0);
    const button = document.querySelector("[data-go=play]");
    button.querySelector("span").textContent = "stop";
    button.setAttribute("aria-label", "stop");
    timer = setInterval(() => (at >= steps.length ? stop() : go(at + 1)), 900);
    return undefined;
  };
  const moves = {
    first: () => go(0),
    back: () => go(at - 1),
    next: () => go(at + 1),
    last: () => go(steps.length),
  };
  for (const button of document.querySelectorAll("[data-go]")) {
    button.addEventListener("click", () => {
      if (button.dataset.go === "play") return play();
      stop();
      return moves[button.dataset.go]();
    });
  }
  slider.addEventListener("input", () => {
    stop();
    go(Number(slider.value));
  });
  for (const [key, group] of drawn) {
    const choose = () => {
      stop();
      looking = nodes.get(key);
      if (!group.classList.contains("valued")) {
        go(steps.findIndex((step) => step.node.key === key) + 1);
        return;
      }
      chosen = strongest(looking.value);
      mark();
      tell(looking);
    };
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        choose();
      }
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    stop();
    event.preventDefault();
    go(at + (event.key === "ArrowRight" ? 1 : -1));
  });
  go(0);

  // --- the three factors -------------------------------------------------------------------------
  const unitBox = byId("weight-unit");
  const inputBox = byId("weight-input");
  const state = { layer: 0, unit: 0, input: 0 };
  const tabs = [...document.querySelectorAll("[data-layer]")];
  const factorCard = (title, value, name, kind) => {
    const box = element("div", undefined, `factor ${kind}`);
    box.append(element("span", title), element("b", value), element("small", name));
    return box;
  };
  const showWeight = () => {
    const layer = layers[state.layer];
    const [units, inputs] = nodes.get(layer.node).shape;
    state.unit = Math.max(0, Math.min(units - 1, state.unit));
    state.input = Math.max(0, Math.min(inputs - 1, state.input));
    unitBox.max = units - 1;
    inputBox.max = inputs - 1;
    unitBox.value = state.unit;
    inputBox.value = state.input;
    tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === state.layer)));
    const { unit, input } = state;
    const flat = unit * inputs + input;
    const error = numbers(layer.error);
    const slope = numbers(layer.slope);
    const given = numbers(layer.input);
    const weight = numbers(nodes.get(layer.node).value);
    const partial = numbers(nodes.get(layer.node).partial);
    const name = named(layer.label, [unit, input]);
    byId("factors").replaceChildren(
      factorCard("error", show(error[unit]), named(layer.error_name, [unit]), "back"),
      element("div", "·", "sign"),
      factorCard("activation slope", show(slope[unit]), slopeName(layer, unit), ""),
      element("div", "·", "sign"),
      factorCard("input", show(given[input]), inputName(layer, input), "front"),
      element("div", "=", "sign"),
      factorCard("partial derivative", show(partial[flat]), `∂${layer.output}/∂${name}`, "result"),
      factorCard("the weight itself", show(weight[flat]), `${name} of ${layer.name}`, ""),
    );
    const room = (canvas) => Math.max(160, Math.min(320, canvas.parentElement.clientWidth || 260));
    const [rows, columns] = grid([inputs], layer.picture, 12);
    const draw = (id, values, r, c, options, pick, caption) => {
      const canvas = byId(id);
      paint(canvas, values, r, c, { width: room(canvas), ...options });
      picks(canvas, values.length, c, () => options.chosen, pick);
      byId(`${id}-caption`).textContent = caption;
    };
    const perUnit = error.map((value, i) => value * slope[i]);
    const [unitRows, unitColumns] = grid([units], undefined, 12);
    draw("units", perUnit, unitRows, unitColumns, { chosen: unit, cell: 26 }, (i) => {
      state.unit = i;
      showWeight();
    }, `error · slope of the ${units} units; unit ${unit} is chosen`);
    const pickInput = (i) => {
      state.input = i;
      showWeight();
    };
    const row = (values) => values.subarray(unit * inputs, (unit + 1) * inputs);
    draw("inputs", row(weight), rows, columns, { chosen: input }, pickInput,
      `the ${inputs} weights of unit ${unit}; input ${input} is chosen`);
    draw("given", given, rows, columns, { chosen: input, plain: Boolean(layer.picture) }, pickInput,
      `the inputs ${layer.input_name}`);
    draw("slopes", row(partial), rows, columns, { chosen: input }, pickInput,
      `∂${layer.output}/∂${layer.label}, all inputs of unit ${unit}`);
  };
  const inputName = (layer, input) => {
    const name = layer.data ? graph.features[input] : "";
    return named(layer.input_name, [input]) + (name ? `: ${name}` : "");
  };
  const slopeName = (layer, unit) => {
    if (layer.slope_name === "1") return "1: no activation follows";
    const bare = /^[[∂]/.test(layer.slope_name);
    return `${bare ? layer.slope_name : `(${layer.slope_name})`} at ${unit}`;
  };
  const openLayer = (index) => {
    state.layer = index;
    [state.unit, state.input] = layers[index].start;
    showWeight();
  };
  if (layers.length && unitBox) {
    tabs.forEach((tab, i) => tab.addEventListener("click", () => openLayer(i)));
    unitBox.addEventListener("change", () => {
      state.unit = Number(unitBox.value) || 0;
      showWeight();
    });
    inputBox.addEventListener("change", () => {
      state.input = Number(inputBox.value) || 0;
      showWeight();
    });
    openLayer(0);
  }
  const redraw = () => {
    if (layers.length && unitBox) showWeight();
    if (looking) tell(looking);
    else if (at) tell(steps[at - 1].node);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 150);
  });
})();
