// The service's two pages, the live one and the API's, as a person sees them. Usage: node service.mjs http://HOST:PORT [FOLDER for pictures]
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { axe, sizes, step, visit } from './visit.mjs';

const [address, shots] = process.argv.slice(2);
// The checks of axe are put into the page, which its policy would forbid.
const { page, troubles, leave } = await visit((url) => url.startsWith(`${address}/`) || url.startsWith('data:'), { bypassCSP: true });

const ask = async (path, body) => {
  const answer = await fetch(address + path, body && { method: 'POST', body: JSON.stringify(body) });
  return answer.headers.get('content-type').includes('json') ? answer.json() : answer.text();
};

// Looks at a page in both themes at both widths.
const look = async (name) => {
  for (const [size, viewport] of Object.entries(sizes)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(100);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${size} ${colorScheme}: the page is ${wide} px too wide`);
      await page.evaluate(axe);
      const found = await page.evaluate(async () => (await globalThis.axe.run(document)).violations
        .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)} ${nodes[0].any.map((check) => check.message).join(' ')}`));
      assert.deepEqual(found, [], `${size} ${colorScheme}`);
      if (shots) await page.screenshot({ path: join(shots, `${name}-${size}-${colorScheme}.png`), fullPage: true });
    }
  }
};

try {
  const api = await ask('/openapi.json');
  const example = api.paths['/v1/score'].post.requestBody.content['application/json'].example;
  await step('requests are answered', async () => {
    for (let at = 0; at < 200; at += 1) {
      const answer = await ask('/v1/score', { ...example, context: { hour: at % 24, site: `site-${at % 50}` } });
      assert.equal(answer.candidates.length, example.candidates.length, JSON.stringify(answer));
    }
    await ask('/v1/score', {});
  });
  await step('the live page shows them', async () => {
    await page.goto(`${address}/`);
    await page.locator('svg').first().waitFor();
    const { model, counted } = await ask('/v1/live');
    assert.ok(counted, 'numbers');
    await page.getByText(model.name).first().waitFor();
    await page.waitForTimeout(2500);
    await look('live');
  });
  await step('the page of the API names every path, parameter and answer, and unfolds its schemas', async () => {
    await page.goto(`${address}/docs`);
    await page.getByRole('heading', { level: 2 }).first().waitFor();
    const titles = await page.getByRole('heading', { level: 2 }).allInnerTexts();
    const operations = Object.entries(api.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
    assert.deepEqual(titles.map((title) => title.replace(/\s+/g, ' ').trim()), operations);
    for (const text of ['x-budget-us', 'retry-after', 'x-pctr-no-bid']) await page.getByText(text).first().waitFor();
    await look('docs');
    for (const fold of await page.locator('details').all()) await fold.evaluate((details) => { details.open = true; });
    assert.ok(!/\$ref|undefined|\[object/.test(await page.locator('main').innerText()), 'what is referred to is shown');
    await look('docs-open');
  });
  assert.deepEqual(troubles, []);
  console.log('all well');
} finally {
  await leave();
}
