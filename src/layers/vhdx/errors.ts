import { StorageError } from "../../core/errors.ts";

export function corrupt(message: string, offset: number, hint?: string): StorageError {
  return new StorageError("corrupt", message, { layer: "vhdx", offset, hint });
}

export function unsupported(feature: string, offset: number): StorageError {
  return new StorageError("unsupported", `not supported: ${feature}`, { layer: "vhdx", offset, feature });
}
