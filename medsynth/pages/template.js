const $ = id => document.getElementById(id);
const D = JSON.parse($("data").textContent);
const place = Object.fromEntries(D.columns.map((column, at) => [column.name, at]));
const idOf = row => D.rows[row][place.sample_id];
const rowOf = new Map(D.rows.map((_, row) => [idOf(row), row]));
const lower = D.rows.map(cells => cells.join("\n").toLowerCase());
const GROUPS = {asked: "Asked", read: "Read from the image", judged: "Judged", origin: "Origin"};

/** An element with its class, text, children and attributes; text is never read as markup. */
function make(tag, {text, kids = [], ...attributes} = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...kids);
  return element;
}

const words = name => name.replace(/^predicted_/, "").replaceAll("_", " ");
const asked = () => new URLSearchParams(location.hash.slice(1));

/** Change the address, and let the page show what it asks for. */
function ask(change) {
  const wanted = asked();
  change(wanted);
  const text = wanted.toString();
  history.replaceState(null, "", text ? "#" + text : "#");
  show();
}

const set = (name, value) => ask(wanted => value ? wanted.set(name, value) : wanted.delete(name));

/** A number of a table with four digits; other texts as they are. */
const short = cell => /^-?\d*\.\d{4,}(e.*)?$/.test(cell) ? String(Number(Number(cell).toPrecision(4))) : cell;

/** What a run says of one row, group by group, as headings and tables. */
function cellsOf(row) {
  return Object.entries(GROUPS).flatMap(([group, title]) => {
    const lines = D.columns.filter(column => column.group === group).map(({name}) => make("tr", {kids: [
      make("th", {scope: "row", text: words(name)}), make("td", {text: short(D.rows[row][place[name]]) || "–"})]}));
    return lines.length ? [make("h3", {text: title}), make("table", {class: "cells", kids: lines})] : [];
  });
}
