/**
 * What OSCAL 1.2 asks of assessment results and of plans of action and milestones, for the parts that we write: written by hand, and compared field by field with
 * NIST's own JSON schemas of 1.2.0 (oscal-ar-schema.json, oscal-poam-schema.json: required fields, types, no further fields), which are not at hand in a
 * build without network. Stricter where theirs lets any word pass beside the listed values.
 */
const uuid = {
  type: "string",
  pattern: "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[45][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$",
};
const token = { type: "string", pattern: "^(\\p{L}|_)(\\p{L}|\\p{N}|[.\\-_])*$" };
/** Not empty, on one line, no space at either end. */
const text = { type: "string", pattern: "^\\S(.*\\S)?$" };
/** "MarkupLineDatatype" */
const line = { type: "string", pattern: "^[^\\n]+$" };
/** "DateTimeWithTimezoneDatatype", of which we write UTC only. */
const dateTime = {
  type: "string",
  pattern: "^(19|2\\d)\\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?Z$",
};
const uri = { type: "string", format: "uri", pattern: "^[a-zA-Z][a-zA-Z0-9+\\-.]+:.+$" };
const uriReference = { type: "string", minLength: 1, format: "uri-reference" };
const list = (items: object) => ({ type: "array", minItems: 1, items });

function object(required: Record<string, object>, others: Record<string, object> = {}): object {
  return {
    type: "object",
    required: Object.keys(required),
    additionalProperties: false,
    properties: { ...required, ...others },
  };
}

const props = list(
  object({ name: token, value: text }, { uuid, ns: uri, class: token, group: token, remarks: { type: "string" } }),
);
const metadata = object(
  {
    title: line,
    "last-modified": dateTime,
    version: text,
    "oscal-version": { type: "string", pattern: "^1\\.2\\.\\d+$" },
  },
  { props },
);
const observation = object(
  {
    uuid,
    description: { type: "string" },
    methods: list({ enum: ["EXAMINE", "INTERVIEW", "TEST", "UNKNOWN"] }),
    collected: dateTime,
  },
  {
    title: line,
    props,
    types: list({
      enum: ["ssp-statement-issue", "control-objective", "mitigation", "finding", "discovery", "historic"],
    }),
    "relevant-evidence": list(object({ description: { type: "string" } }, { href: uriReference, props })),
    expires: dateTime,
  },
);
const risk = object(
  {
    uuid,
    title: line,
    description: { type: "string" },
    statement: { type: "string" },
    status: { enum: ["open", "investigating", "remediating", "deviation-requested", "deviation-approved", "closed"] },
  },
  { props, deadline: dateTime, "related-observations": list(object({ "observation-uuid": uuid })) },
);
const finding = object(
  {
    uuid,
    title: line,
    description: { type: "string" },
    target: object(
      {
        type: { enum: ["statement-id", "objective-id"] },
        "target-id": token,
        status: object(
          { state: { enum: ["satisfied", "not-satisfied"] } },
          { reason: { enum: ["pass", "fail", "other"] }, remarks: { type: "string" } },
        ),
      },
      { props },
    ),
  },
  {
    props,
    "related-observations": list(object({ "observation-uuid": uuid })),
    "related-risks": list(object({ "risk-uuid": uuid })),
  },
);
const backMatter = object(
  {},
  {
    resources: list(
      object(
        { uuid },
        {
          title: line,
          description: { type: "string" },
          props,
          rlinks: list(
            object(
              { href: uriReference },
              {
                "media-type": text,
                hashes: list(
                  object({
                    algorithm: {
                      enum: [
                        "SHA-224",
                        "SHA-256",
                        "SHA-384",
                        "SHA-512",
                        "SHA3-224",
                        "SHA3-256",
                        "SHA3-384",
                        "SHA3-512",
                      ],
                    },
                    value: { type: "string", pattern: "^[0-9a-fA-F]{28,128}$" },
                  }),
                ),
              },
            ),
          ),
        },
      ),
    ),
  },
);
const result = object(
  {
    uuid,
    title: line,
    description: { type: "string" },
    start: dateTime,
    "reviewed-controls": object({
      "control-selections": list(
        object({}, { "include-all": object({}), "include-controls": list(object({ "control-id": token })) }),
      ),
    }),
  },
  { end: dateTime, props, observations: list(observation), risks: list(risk), findings: list(finding) },
);

export const ASSESSMENT_RESULTS = object({
  "assessment-results": object(
    { uuid, metadata, "import-ap": object({ href: uriReference }), results: list(result) },
    { "back-matter": backMatter },
  ),
});

export const PLAN_OF_ACTION = object({
  "plan-of-action-and-milestones": object(
    {
      uuid,
      metadata,
      "poam-items": list(
        object(
          { title: line, description: { type: "string" } },
          {
            uuid,
            props,
            "related-observations": list(object({ "observation-uuid": uuid })),
            "related-risks": list(object({ "risk-uuid": uuid })),
          },
        ),
      ),
    },
    {
      "system-id": object(
        { id: text },
        { "identifier-type": { enum: ["https://ietf.org/rfc/rfc4122", "https://fedramp.gov"] } },
      ),
      observations: list(observation),
      risks: list(risk),
      "back-matter": backMatter,
    },
  ),
});
