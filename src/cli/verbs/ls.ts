import { listingText } from "../../report/files-text.ts";
import { type ListSink, listFiles } from "../../usecases/list-files.ts";
import type { ListFlags } from "../options.ts";
import { emit } from "../output.ts";
import { type Session, sourceOptions } from "../session.ts";
import { tellProblems, withPath } from "./paths.ts";

export async function run(named: readonly string[], flags: ListFlags, session: Session): Promise<number> {
  using keys = session.keys(flags);
  // Without a path it is the volume's root.
  const { sources, path } = named.length === 1 ? { sources: named, path: "/" } : withPath(named, 1);
  const recursive = flags.recursive ?? false;
  const json = flags.json ? new JsonListing() : null;
  const problems = await listFiles(
    {
      ...sourceOptions(sources, flags, keys, session),
      volume: flags.volume,
      path,
      recursive,
      itself: flags.directory ?? false,
    },
    json ?? textListing({ long: flags.long ?? false, recursive }),
  );
  await json?.end(problems);
  return tellProblems(problems);
}

/** As ls(1): with -R each folder goes by its path, and an empty line stands between two. */
function textListing({ long, recursive }: { readonly long: boolean; readonly recursive: boolean }): ListSink {
  let first = true;
  return {
    async begin() {},
    async listing(part, more) {
      await emit((first || more ? "" : "\n") + listingText(part, { long, headed: recursive && !more }));
      first = false;
    },
  };
}

/** The document unterbau/ls/1 as it grows: all of it may be more than fits into memory. */
class JsonListing implements ListSink {
  #open = false;

  async begin({ volume, path }: Parameters<ListSink["begin"]>[0]): Promise<void> {
    const head = JSON.stringify({ schema: "unterbau/ls/1", volume, path }, null, 2);
    await emit(`${head.slice(0, -2)},\n  "listings": [`);
  }

  async listing({ path, entries }: Parameters<ListSink["listing"]>[0], more: boolean): Promise<void> {
    if (!more) {
      await emit(
        `${this.#open ? "\n      ]\n    }," : ""}\n    {\n      "path": ${JSON.stringify(path)},\n      "entries": [`,
      );
      this.#open = true;
    }
    const texts = entries.map((entry) => `\n${indented(entry, 8)}`);
    if (texts.length > 0) await emit(`${more ? "," : ""}${texts.join(",")}`);
  }

  async end(problems: readonly object[]): Promise<void> {
    await emit(
      `${this.#open ? "\n      ]\n    }\n  " : ""}],\n  "problems": ${indented(problems, 2).trimStart()}\n}\n`,
    );
  }
}

/** JSON over several lines, each that far from the margin. */
function indented(value: object, by: number): string {
  return JSON.stringify(value, null, 2).replaceAll(/^/gm, " ".repeat(by));
}
