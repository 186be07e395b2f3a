/** The import rules of docs/ARCHITECTURE.md, checked by a machine. One entry per folder: what it may import besides itself. */
const may = {
  bytes: [],
  core: ["bytes"],
  crypto: ["bytes", "ffi"],
  ffi: [],
  raid: ["core", "bytes"],
  layers: ["core", "bytes", "crypto", "raid"],
  filesystems: ["core", "bytes"],
  extfs: ["core", "bytes", "filesystems/ext-superblock", "filesystems/ext-features"],
  stack: ["core", "bytes", "layers", "filesystems"],
  nbd: ["core", "bytes"],
  fuse: ["core", "bytes"],
  libvirt: ["core", "bytes"],
  plan: ["core/errors", "core/layer", "bytes/text"],
  tools: ["core/errors", "bytes/text"],
  host: ["tools", "core", "bytes", "ffi"],
  usecases: [
    "extfs",
    "stack",
    "plan",
    "layers",
    "filesystems",
    "nbd",
    "fuse",
    "libvirt",
    "crypto/xor",
    "tools",
    "host",
    "core",
    "bytes",
  ],
  report: [
    "usecases/documents",
    "usecases/life-documents",
    "usecases/boot-documents",
    "usecases/trim-documents",
    "usecases/backup-documents",
    "usecases/header-documents",
    "usecases/migrate-documents",
    "bytes/text",
  ],
  cli: ["usecases", "report", "plan/script", "stack/tree", "core/errors", "core/limits", "core/layer"],
};

const folders = Object.entries(may).map(([folder, allowed]) => ({
  name: `${folder}-imports`,
  severity: "error",
  comment: `src/${folder} may import: ${["itself", ...allowed].join(", ")}`,
  from: { path: `^src/${folder}/`, pathNot: "\\.test\\.ts$" },
  to: { path: "^src/", pathNot: [folder, ...allowed].map((a) => (a.includes("/") ? `^src/${a}\\.ts$` : `^src/${a}/`)) },
}));

module.exports = {
  forbidden: [
    ...folders,
    {
      name: "no-sibling-layers",
      severity: "error",
      comment: "a layer never knows another layer; the stack puts them together",
      from: { path: "^src/layers/([^/]+)/" },
      to: { path: "^src/layers/", pathNot: "^src/layers/$1/" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-tests-in-production",
      severity: "error",
      from: { path: "^src/", pathNot: "\\.test\\.ts$" },
      to: { path: "^test/|\\.test\\.ts$" },
    },
    {
      name: "no-dev-dependencies",
      severity: "error",
      from: { path: "^src/", pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["npm-dev"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js", ".json"] },
  },
};
