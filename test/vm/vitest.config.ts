import { defineConfig } from "vitest/config";

/** The tests that need a real kernel, in a virtual machine: `make test-vm`. */
export default defineConfig({
  test: {
    include: ["test/vm/**/*.test.ts"],
    testTimeout: 900_000,
    hookTimeout: 900_000,
    globalSetup: ["test/helpers/build.ts", "test/vm/setup.ts"],
    pool: "forks",
    // One machine takes both of the processors that are usual.
    fileParallelism: false,
  },
});
