// Chromium with an empty profile, and what every page is checked for: no console error, no request that is not its own, axe.
import { mkdtemp, rm, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const sizes = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };
export const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// Opens a page; `allowed` says whether it may ask for a URL. What goes wrong on the way is collected in `troubles`.
export const visit = async (allowed, options = {}) => {
  const profile = await mkdtemp(join(tmpdir(), 'pctr-browser-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    viewport: sizes.desktop,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
    ...options,
  });
  const page = await browser.newPage();
  const troubles = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) troubles.push(`console: ${message.text()}`); });
  page.on('pageerror', (error) => troubles.push(`script: ${error.message}`));
  page.on('request', (request) => { if (!allowed(request.url())) troubles.push(`request: ${request.url()}`); });
  page.on('response', (response) => { if (response.status() >= 400) troubles.push(`${response.status()}: ${response.url()}`); });
  const leave = async () => {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { page, troubles, leave };
};

export const step = async (name, body) => {
  try { await body(); } catch (error) { throw new Error(`${name}: ${error.message}`, { cause: error }); }
  console.log(`ok  ${name}`);
};
