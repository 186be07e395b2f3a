import { type Command, Option } from "commander";
import type { PlainFlags } from "./options.ts";
import type { Verb } from "./run-verb.ts";

export interface EgressFlags extends PlainFlags {
  readonly scope?: string;
  readonly format?: "nwfilter" | "nft";
  readonly apply?: boolean;
  readonly connect?: string;
}

/** Rules for what a guest may reach. */
export function addEgress(program: Command, verb: Verb): void {
  const egress = program.command("egress").description("rules for what a guest may reach, from the declared peers");
  const act = (name: string) => (what: string, flags: EgressFlags) =>
    verb<EgressFlags>(() => import("./verbs/egress.ts"))([name, what], flags);
  egress
    .command("plan")
    .description("print a rule set for the declared peers that drops all else; --apply puts it in force (as root)")
    .argument("<vm:guest>", "vm:NAME or vm:UUID")
    .requiredOption("--scope <file>", "what is declared (YAML): its part `egress`")
    .addOption(
      new Option("--format <format>", "for libvirt or for nft").choices(["nwfilter", "nft"]).default("nwfilter"),
    )
    .option("--apply", "put it in force; what was there is recorded for `egress undo`")
    .option("--connect <uri>", "libvirt's connection")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText(
      "after",
      "\nExample:\n  unterbau egress plan vm:mail --scope scope.yaml\n  unterbau egress plan vm:mail --scope scope.yaml --format nft > mail.nft",
    )
    .action(act("plan"));
  egress
    .command("undo")
    .description("take back what `egress plan --apply` put in force (as root)")
    .argument("<run>", "as --apply printed it")
    .option("--json", "one JSON document")
    .option("--debug", "show stack traces")
    .addHelpText("after", "\nExample:\n  unterbau egress undo 20261124-060000-1a2b")
    .action(act("undo"));
}
