import { defineConfig } from "vitest/config";

// The page is served under a policy of `default-src 'self'`: nothing may be
// inlined, neither as data: addresses nor as script. PARLEY_ORIGIN names a running gateway for
// `npm run dev`.
const gateway = process.env.PARLEY_ORIGIN ?? "http://127.0.0.1:30080";

export default defineConfig({
  build: {
    target: "es2022",
    outDir: "dist",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    reportCompressedSize: true,
  },
  server: {
    // The gateway takes changes only from its own origin, so the proxy presents itself as that.
    proxy: { "/api": { target: gateway, changeOrigin: true, headers: { origin: gateway } } },
  },
  test: { include: ["src/**/*.test.ts", "src/**/*.test.tsx"], environment: "node" },
});
