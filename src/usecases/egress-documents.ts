/** What a guest may reach: the peers that are declared, as addresses. */
export interface EgressPeer {
  readonly name: string;
  readonly protocol: "tcp" | "udp";
  /** Addresses and networks, `198.51.100.25`, `2001:db8::/32`. */
  readonly addresses: readonly string[];
  /** Host names, with what they were found to be. */
  readonly looked: Readonly<Record<string, readonly string[]>>;
  readonly ports: readonly { readonly first: number; readonly last: number }[];
}

export interface EgressInterface {
  readonly mac: string;
  /** `routed`: the host forwards what it sends; `bridged`: it is a port of a bridge that leads outside. */
  readonly way: "routed" | "bridged";
  /** The guest's own address is given, so that others can be refused. */
  readonly knownAddress: boolean;
}

export interface EgressPlanDocument {
  readonly schema: "unterbau/egress/1";
  readonly guest: string;
  readonly uuid: string;
  readonly format: "nwfilter" | "nft";
  readonly peers: readonly EgressPeer[];
  readonly interfaces: readonly EgressInterface[];
  /** The rule set, as the program takes it. */
  readonly rules: string;
  readonly notes: readonly string[];
  /** The run that `egress undo` takes back; null: nothing was applied. */
  readonly run: string | null;
}

export interface EgressUndoDocument {
  readonly schema: "unterbau/egress-undo/1";
  readonly run: string;
  readonly guest: string;
  readonly done: readonly string[];
}
