export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** Something a person should know about a layer that does not stop it from being opened. */
export interface Finding {
  /** `info` is worth knowing, `warning` should be looked at, `error` means that part of the layer cannot be used. */
  readonly severity: "info" | "warning" | "error";
  /** Stable kebab-case name, prefixed by the layer: `gpt-primary-damaged`, `lvm-pv-missing`. */
  readonly code: string;
  readonly message: string;
  readonly layer: string;
  /** Byte offset in the layer's container. */
  readonly offset?: number | undefined;
}
