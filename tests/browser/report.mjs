// A report in a browser, used as a reader uses it. Usage: node report.mjs REPORT.html [FOLDER for pictures]
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { axe, sizes, step, visit } from './visit.mjs';

const [report, shots] = process.argv.slice(2);
const address = pathToFileURL(resolve(report)).href;
const { page, troubles, leave } = await visit((url) => url === address);

try {
  assert.ok((await stat(report)).size < 2e6, 'the report is smaller than 2 MB');
  await page.goto(address);
  const table = page.locator('#leaderboard table').first();
  const cells = (column) => table.locator(`tbody tr :nth-child(${column})`).allInnerTexts();
  const shown = async (column) => (await table.locator(`tbody tr:visible :nth-child(${column})`).allInnerTexts());

  await step('the first screen has verdict, leaderboard and pictures', async () => {
    await page.locator('.verdict').waitFor();
    for (const title of ['Distance from the best model', 'Reliability', 'Cost and quality']) {
      const box = await page.locator('#leaderboard figure', { hasText: title }).first().boundingBox();
      assert.ok(box && box.y < sizes.desktop.height, `${title} begins at ${box && box.y}`);
    }
  });
  await step('a table sorts up, down and back', async () => {
    const names = await cells(1);
    const head = table.locator('thead th', { hasText: 'Log loss' }).first();
    const column = 1 + await head.evaluate((cell) => cell.cellIndex);
    const losses = async () => (await cells(column)).map((text) => parseFloat(text));
    await head.getByRole('button').click();
    assert.equal(await head.getAttribute('aria-sort'), 'ascending');
    assert.deepEqual(await losses(), (await losses()).sort((a, b) => a - b));
    await head.getByRole('button').press('Enter');
    assert.equal(await head.getAttribute('aria-sort'), 'descending');
    assert.deepEqual(await losses(), (await losses()).sort((a, b) => b - a));
    await head.getByRole('button').click();
    assert.deepEqual(await cells(1), names);
  });
  await step('a table filters', async () => {
    const input = page.locator('#data .filter input').first();
    const rows = page.locator('#data .filter + .scroll tbody tr');
    const all = await rows.count();
    const name = await rows.first().locator('th').innerText();
    await input.fill(name);
    const left = await rows.locator('visible=true').count();
    assert.ok(left >= 1 && left < all, `${left} of ${all} rows`);
    await input.fill('');
    assert.equal(await rows.locator('visible=true').count(), all);
  });
  await step('a legend hides and shows its series', async () => {
    const figure = page.locator('figure', { has: page.locator('h3', { hasText: /^ROC$/ }) });
    const toggle = figure.locator('ul.legend button').first();
    const series = figure.locator('g[data-s="0"]');
    assert.ok(await series.isVisible());
    await toggle.click();
    assert.equal(await toggle.getAttribute('aria-pressed'), 'false');
    assert.ok(!await series.isVisible());
    await toggle.press('Space');
    assert.ok(await series.isVisible());
  });
  await step('of many reliability lines the first three are drawn until others are asked for', async () => {
    const figure = page.locator('figure', { has: page.locator('h3', { hasText: /^Reliability$/ }) });
    const names = figure.locator('ul.legend button');
    const count = await names.count();
    const drawn = async () => (await names.evaluateAll((all) => all.filter((one) => one.getAttribute('aria-pressed') === 'true'))).length;
    assert.equal(await drawn(), count > 4 ? 3 : count);
    if (count > 4) {
      const last = figure.locator(`g[data-s="${count - 1}"]`).first();
      assert.ok(!await last.isVisible());
      await names.last().click();
      assert.ok(await last.isVisible());
      await names.last().click();
    }
  });
  await step('points are read by pointer and by keys', async () => {
    const figure = page.locator('figure', { has: page.locator('h3', { hasText: /^Reliability$/ }) });
    await figure.locator('.pt:visible').last().hover();
    assert.match(await page.locator('#tip').innerText(), /predicted .* observed/);
    await page.mouse.move(1, 1);
    await figure.locator('svg').focus();
    await page.keyboard.press('ArrowRight');
    assert.match(await page.locator('#tip').innerText(), /predicted .* observed/);
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('#tip').innerText(), '');
  });
  await step('the theme follows the system and can be switched', async () => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await ground();
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await ground();
    assert.notEqual(light, dark);
    await page.locator('#theme').click();
    assert.equal(await ground(), light);
    await page.locator('#theme').click();
    await page.emulateMedia({ colorScheme: 'light' });
    assert.equal(await ground(), dark);
    await page.locator('#theme').click();
    assert.equal(await ground(), light);
  });
  await step('nothing hangs over the side of a phone', async () => {
    await page.setViewportSize(sizes.phone);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `${over} pixels`);
  });
  await page.evaluate(() => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
  await page.evaluate(axe);
  for (const [name, size] of Object.entries(sizes)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme });
      await step(`axe finds nothing serious: ${name}, ${colorScheme}`, async () => {
        const { violations } = await page.evaluate(() => axe.run(document));
        const serious = violations.filter((found) => ['serious', 'critical'].includes(found.impact));
        const told = serious.map((found) => `${found.id}: ${found.nodes.length} times, ${found.nodes[0].html.slice(0, 160)}`);
        assert.deepEqual(told, []);
        if (violations.length) console.log(`    less than serious: ${violations.map((found) => found.id).join(', ')}`);
      });
    }
  }
  if (shots) {
    await page.goto(address);
    for (const [name, size] of Object.entries(sizes)) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`) });
        await page.screenshot({ path: join(shots, `${name}-${colorScheme}-whole.png`), fullPage: true });
      }
    }
    await page.pdf({ path: join(shots, 'print.pdf'), format: 'A4' });
  }
  await step('no console error, no network request', async () => assert.deepEqual(troubles, []));
} finally {
  await leave();
}
