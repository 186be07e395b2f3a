/**
 * Overwrites secrets with zeros as soon as they are no longer needed. JavaScript cannot promise that no copy was made
 * elsewhere, so secrets are kept in as few buffers as possible and never become strings.
 */
export function wipe(...secrets: readonly (Uint8Array | null | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0);
}
