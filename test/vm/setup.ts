import { buildMachine } from "./machine.ts";

export default function setup(): void {
  buildMachine();
}
