import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // These need a virtual machine: `make test-vm`.
    exclude: ["test/vm/**", "node_modules/**"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    globalSetup: ["test/helpers/build.ts"],
    pool: "forks",
    reporters: ["default"],
  },
});
