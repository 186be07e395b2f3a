import { describe, expect, it } from "vitest";
import { sampleMaterial } from "../../../test/helpers/gdpr.ts";
import { MEASURES } from "./data/measures.ts";
import { deviationsOf } from "./deviations.ts";
import type { Material } from "./material.ts";
import type { PaperId } from "./model.ts";
import { PAPER_IDS, paperOf } from "./papers/index.ts";
import { markdown } from "./render/markdown.ts";

const text = (id: PaperId, material: Material): string => markdown(paperOf(id, material)).replaceAll("\\", "");
const sentence = (check: string): string => MEASURES.find(({ checks }) => checks[0] === check)!.text.de;

describe("the TOM annex", () => {
  it("names every measure of a host where all pass, each with its mark", () => {
    const paper = text("tom", sampleMaterial());
    expect(MEASURES).toHaveLength(40);
    for (const { checks, text: said } of MEASURES)
      expect(paper).toContain(`${said.de} [G ${checks.join(", ")}, 2026-11-24 10:00 UTC]`);
    expect(deviationsOf(sampleMaterial())).toEqual([]);
  });

  it.each(MEASURES.map(({ checks }) => checks[0]))("says nothing of %s unless it passes", (check) => {
    for (const state of ["fail", "unknown", "warn", "missing", "n-a"] as const) {
      const paper = text("tom", sampleMaterial({ states: { [check]: state } }));
      expect(paper, state).not.toContain(sentence(check));
      expect(paper.includes(`[G ${check}, `), state).toBe(state === "warn");
      const listed = deviationsOf(sampleMaterial({ states: { [check]: state } })).map((d) => d.check);
      expect(new Set(listed), state).toEqual(new Set(state === "n-a" ? [] : [check]));
    }
  });

  it("says of one guest what does not hold for the other", () => {
    const paper = text("tom", sampleMaterial({ states: { "ENC-01/web": "fail" } }));
    expect(paper).toContain(`Gast mail: ${sentence("ENC-01")}`);
    // The mail store's place was measured, its encryption failed: both are needed.
    expect(paper).toContain(`Gast mail: ${sentence("MAIL-01")}`);
    expect(paper).not.toContain(`Gäste mail, web: ${sentence("MAIL-01")}`);
  });

  it("takes a client's guest that the run does not know for unknown", () => {
    const client = "guests: [mail, gone]\n";
    const paper = text("tom", sampleMaterial({ client }));
    expect(paper).toContain("wurde von der Messung nicht gefunden");
    expect(paper).toContain(`Gast mail: ${sentence("ENC-01")}`);
    expect(deviationsOf(sampleMaterial({ client })).filter((d) => d.guest === "gone").length).toBeGreaterThan(10);
  });

  it("prints what is limited with a pointer", () => {
    const paper = text("tom", sampleMaterial({ states: { "NET-01/web": "warn" } }));
    expect(paper).toContain(
      "Gast web: Eingeschränkt: Ausgehend: Standard verbieten; siehe Abweichung NET-01/web. [G NET-01",
    );
  });
});

describe("a measure of several checks", () => {
  it("is not said of a guest of which only one passes, and points to the one that does not", () => {
    const failed = text("tom", sampleMaterial({ states: { "ENC-01/web": "fail" } }));
    expect(failed).toContain(`Gast mail: ${sentence("ENC-03")} [G ENC-03, ENC-01, `);
    expect(failed).not.toContain(`web: ${sentence("ENC-03")}`);
    const limited = text("tom", sampleMaterial({ states: { "ENC-01/web": "warn" } }));
    expect(limited).toContain(
      "Gast web: Eingeschränkt: Cipher, Modus, Schlüssellänge im Header; siehe Abweichung ENC-01/web.",
    );
    expect(limited).not.toContain("siehe Abweichung ENC-03/web");
  });
});

describe("declarations", () => {
  it("say who and when, or that they are open", () => {
    const paper = text("tom", sampleMaterial());
    expect(paper).toContain(
      "Rolle: beides, je nach Verarbeitung; Begründung: Wartung nach Weisung. [E Ada Beispiel, 2026-11-01, Q01]",
    );
    expect(paper).toContain("**Fernwartung:** nicht erklärt. [O Q37]");
  });

  it("age, and say when they are not whole", () => {
    const paper = text("tom", sampleMaterial());
    expect(paper).toContain("Eingeschränkt: Nur Ada; Tür mit Sicherheitsschloss. [E Ada Beispiel, 2025-11-01, Q32]");
    expect(paper).toContain("die Angabe ist älter als zwölf Monate und muss bestätigt werden. [O Q32]");
    expect(paper).toContain("die Angabe ist unvollständig. [O Q33]");
    const open = text("deviations", sampleMaterial());
    expect(open).toContain("Zutritt zu den Räumen: die Angabe ist älter als zwölf Monate");
    expect(open).toContain("Kenntnis der Passphrasen: die Angabe ist unvollständig. [O Q33]");
  });
});

describe("deviations", () => {
  const material = sampleMaterial({ states: { "ENC-01/web": "fail", "INV-01": "unknown", "BAK-01": "missing" } });
  it("carry finding, effect, remedy and what was decided", () => {
    const paper = text("deviations", material);
    for (const part of [
      "### ENC-01/web – Alle Datenträger des Gastes liegen auf LUKS",
      "vda an [Pfad]: 42. [G ENC-01, 2026-11-24 10:00 UTC]",
      "Was bei ENC-01 zu tun ist.",
      "Umzug auf LUKS [E Ada Beispiel, 2026-11-01, Q42]",
      "befristet hingenommen [E Ada Beispiel, 2026-11-01, Q42]",
      "Die Prüfung ist in diesem Lauf nicht enthalten. [O BAK-01]",
    ])
      expect(paper).toContain(part);
  });

  it("print all twelve risks, and take a decision whose deadline is over for no more than that", () => {
    const paper = text("deviations", material);
    for (let n = 1; n <= 12; n++) expect(paper).toContain(`| **R${n}** |`);
    expect(paper).toContain("befristet hingenommen, Frist abgelaufen, 2026-01-31");
  });

  it("do not take a declaration for the fact: what is called closed and still fails stays open", () => {
    const client = `Q42:\n  by: Ada\n  date: 2026-11-01\n  rows:\n    - subject: ENC-01\n      decision: closed\n    - subject: R1\n      decision: accepted\n`;
    const paper = text("deviations", sampleMaterial({ states: { "ENC-01/web": "fail" }, client }));
    expect(paper).toContain("erledigt (besteht aber weiterhin) [E Ada, 2026-11-01, Q42]");
    expect(paper).toContain("befristet hingenommen, ohne Frist [E Ada, 2026-11-01, Q42]");
  });
});

describe("audiences", () => {
  const secrets = ["/dev/vg1/disk", "/dev/vg1/mail", "/etc/crypttab", "S3R1AL", "192.0.2.7", "saddr", "kvm1", "md0"];
  const all = (audience: Material["audience"], client?: string): string =>
    PAPER_IDS.map((id) =>
      JSON.stringify(
        paperOf(
          id,
          sampleMaterial({
            audience,
            states: { "NET-01": "fail", "ENC-01": "fail" },
            ...(client ? { client } : {}),
          }),
        ),
      ),
    ).join();

  it("client sees no paths, serial numbers, addresses or rules, nor other clients' guests", () => {
    const papers = all("client", "guests: [mail]\n");
    for (const secret of [...secrets, '"web"', "vg1-web"]) expect(papers).not.toContain(secret);
  });

  it("authority sees paths and addresses, internal all", () => {
    const authority = all("authority");
    for (const secret of ["/dev/vg1/disk", "192.0.2.7", "kvm1", "md0"]) expect(authority).toContain(secret);
    for (const secret of ["S3R1AL", "saddr"]) expect(authority).not.toContain(secret);
    const internal = all("internal");
    for (const secret of secrets) expect(internal).toContain(secret);
  });
});

describe("a run in which nothing could be measured", () => {
  it("gives papers that claim nothing", () => {
    const states = Object.fromEntries(MEASURES.map(({ checks }) => [checks[0], "unknown" as const]));
    const material = { ...sampleMaterial({ states, office: null, client: null }), checks: [] };
    for (const id of PAPER_IDS) expect(text(id, material).length).toBeGreaterThan(1000);
    for (const { text: said } of MEASURES) expect(text("tom", material)).not.toContain(said.de);
  });
});
