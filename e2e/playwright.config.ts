import { defineConfig, devices } from '@playwright/test';
import type { HostOptions } from './kit/test.ts';
import { CHROMIUM_ARGS, findChromium, findFirefox } from './engines/find.mjs';

/**
 * Stories in real browsers against the built files; `npm run build` comes first. A story runs in every engine
 * and on every kind of host, unless it is
 * tagged with the one it is for: `@chromium`, `@firefox`, `@shared-worker`, `@leader-tab`.
 */
/** What they tell is of pages and of the server, whatever the host. */
const ABOVE_THE_HOST = ['stories/{deliver,elements,notebook}.spec.ts'];

export default defineConfig<HostOptions>({
  testDir: '.',
  testMatch: ['stories/**/*.spec.ts', 'kill/**/*.spec.ts'],
  outputDir: '../test-results/e2e',
  forbidOnly: process.env['CI'] !== undefined,
  retries: 0,
  // Most of a story is waiting.
  workers: process.env['CI'] === undefined ? '50%' : 3,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['line'], ['json', { outputFile: '../test-results/e2e.json' }]],
  use: { trace: 'retain-on-failure' },
  projects: [
    // Not driven by Playwright itself: e2e/webkit says why some stories are told anew there.
    { name: 'webkit', testMatch: 'webkit/**/*.spec.ts' },
    { name: 'chromium', grepInvert: /@firefox|@leader-tab/, use: chromiumUse() },
    { name: 'firefox', grepInvert: /@chromium|@leader-tab/, use: firefoxUse() },
    {
      name: 'chromium-leader-tab',
      testIgnore: ABOVE_THE_HOST,
      grepInvert: /@firefox|@shared-worker/,
      use: { ...chromiumUse(), host: 'leader-tab' },
    },
    {
      name: 'firefox-leader-tab',
      testIgnore: [...ABOVE_THE_HOST, 'stories/script-tag.spec.ts'],
      grepInvert: /@chromium|@shared-worker/,
      use: { ...firefoxUse(), host: 'leader-tab' },
    },
  ],
});

function chromiumUse() {
  const executablePath = findChromium();
  return {
    ...devices['Desktop Chrome'],
    launchOptions: { args: CHROMIUM_ARGS, ...(executablePath === undefined ? {} : { executablePath }) },
  };
}

function firefoxUse() {
  const { executablePath, channel } = findFirefox() ?? {};
  return {
    ...devices['Desktop Firefox'],
    // Traces need a protocol of Playwright's own build.
    trace: 'off' as const,
    ...(channel === undefined ? {} : { channel }),
    ...(executablePath === undefined ? {} : { launchOptions: { executablePath } }),
  };
}
