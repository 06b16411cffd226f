"""The page at `/docs`: lists what `/openapi.json` has, and asks for a row. It loads nothing from elsewhere."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>millrace</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dde5 }
code, pre, input { font: 14px/1.5 ui-monospace, monospace }
pre { background: #f3f6f9; padding: .75rem; overflow: auto }
b { display: inline-block; min-width: 3.5rem; color: #0b6b5d }
table { border-collapse: collapse } td, th { text-align: left; padding: .1rem 1.5rem .1rem 0 }
form { margin: .5rem 0 }
</style>
<h1>millrace</h1>
<p>What runs have published. The document itself: <a href="/openapi.json">/openapi.json</a>.</p>
<main></main>
<script>
const make = (tag, text, parent) => {
  const found = document.createElement(tag); found.textContent = text; parent.append(found); return found;
};
const ask = async (path, token, out) => {
  const answer = await fetch(path, token ? {headers: {authorization: 'Bearer ' + token}} : {});
  out.textContent = answer.status + ' ' + (answer.headers.get('etag') || '') + '\\n' + await answer.text();
};
fetch('/openapi.json').then(answer => answer.json()).then(about => {
  const main = document.querySelector('main'), sections = {};
  for (const [path, methods] of Object.entries(about.paths)) for (const [method, one] of Object.entries(methods)) {
    const tag = one.tags[0];
    if (!sections[tag]) {
      sections[tag] = make('section', '', main);
      make('h2', tag, sections[tag]);
      if (one.summary) make('p', one.summary, sections[tag]);
      const more = one.externalDocs;
      if (more) make('a', more.description, make('p', '', sections[tag])).href = more.url;
      const columns = (about.components.schemas[tag] || {}).properties;
      if (columns) {
        const table = make('table', '', sections[tag]);
        for (const [name, type] of Object.entries(columns)) {
          const row = make('tr', '', table);
          make('td', name, row); make('td', (type.anyOf[0].type || 'number') + ' ' + (type.anyOf[0].format || ''), row);
        }
      }
    }
    const line = make('p', '', sections[tag]);
    make('b', method.toUpperCase(), line); make('code', path, line);
    if (method !== 'get') continue;
    const form = make('form', '', sections[tag]), inputs = {};
    for (const {name} of one.parameters || []) {
      inputs[name] = make('input', '', form); inputs[name].placeholder = name; inputs[name].required = true;
    }
    const token = make('input', '', form); token.placeholder = 'token, if needed'; token.type = 'password';
    make('button', 'Ask', form);
    const out = make('pre', '', sections[tag]); out.hidden = true;
    form.onsubmit = event => {
      event.preventDefault(); out.hidden = false;
      ask(path.replace(/{(.*?)}/g, (_, name) => encodeURIComponent(inputs[name].value)), token.value, out);
    };
  }
});
</script>
"""
