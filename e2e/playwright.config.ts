import { defineConfig, devices } from '@playwright/test';
import { CHROMIUM_ARGS, findChromium, findFirefox } from './engines/find.mjs';

const chromium = findChromium();

/**
 * Stories in real browsers against the built files; `npm run build` comes first. A story runs in every engine
 * unless it is tagged with the one it is for, `@chromium` or `@firefox`.
 */
export default defineConfig({
  testDir: '.',
  testMatch: '**/*.spec.ts',
  outputDir: '../test-results/e2e',
  forbidOnly: process.env['CI'] !== undefined,
  retries: 0,
  workers: process.env['CI'] === undefined ? '50%' : 2,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['line'], ['json', { outputFile: '../test-results/e2e.json' }]],
  use: { trace: 'retain-on-failure' },
  projects: [
    {
      name: 'chromium',
      grepInvert: /@firefox/,
      use: {
        ...devices['Desktop Chrome'],
        launchOptions: {
          args: CHROMIUM_ARGS,
          ...(chromium === undefined ? {} : { executablePath: chromium }),
        },
      },
    },
    {
      name: 'firefox',
      grepInvert: /@chromium/,
      use: {
        ...devices['Desktop Firefox'],
        // Traces need a protocol of Playwright's own build.
        trace: 'off',
        ...firefoxUse(),
      },
    },
  ],
});

function firefoxUse() {
  const found = findFirefox();
  if (found === undefined) return {};
  const { executablePath, channel } = found;
  return { ...(channel === undefined ? {} : { channel }), launchOptions: { executablePath } };
}
