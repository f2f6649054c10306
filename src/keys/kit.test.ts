import { expect, test } from "vitest";
import { type Kit, renderKit } from "./kit.ts";

const hostile = `<script>alert("x")</script> & 'quotes'`;
const key = "AGE-SECRET-KEY-14WK4M8MW57YCWFL6XMRV4VX4VDJR9UC853QDZJ28TVAP024UWDPQZZLQG6";
const kit: Kit = {
  name: hostile,
  repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21",
  made: new Date("2026-11-21T14:30:05Z"),
  keys: [
    { secret: key, recipient: "age1new" },
    { secret: "-----BEGIN\nOLD\n", recipient: undefined },
  ],
  stores: [
    { name: hostile, address: "/mnt/my disk/notes", fetch: [], folder: "/mnt/my disk/notes" },
    { name: "off", address: "branch:https://h/r.git#b", fetch: ["git clone --branch b https://h/r.git store"], folder: "store" },
  ],
};
const page = renderKit(kit, (text) => `<svg data-length="${text.length}"></svg>`);
const text = page.replace(/<[^>]*>/g, "");

test("it has the key in fours, as a code and nothing else that would need typing twice", () => {
  const groups = [...page.matchAll(/<span>([^<]*)<\/span>/g)].map(([, group]) => group);
  expect(groups.join("")).toBe(key);
  expect(groups[0]).toBe("AGE-SECRET-KEY-1");
  expect(Math.max(...groups.slice(1).map((group) => group?.length ?? 0))).toBe(4);
  expect(page).toContain(`<svg data-length="${key.length}">`);
});

test("it has every store, with commands for it, by Holdfast and by hand", () => {
  for (const part of [
    "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21",
    "2026-11-21",
    "age1new",
    "holdfast recover &#39;/mnt/my disk/notes&#39; NEW-FOLDER --identity key.txt",
    "sh &#39;/mnt/my disk/notes/restore.sh&#39; --identity key.txt latest NEW-FOLDER",
    "git clone --branch b https://h/r.git store\nsh store/restore.sh --identity key.txt latest NEW-FOLDER",
    "Older keys",
    "-----BEGIN\nOLD",
  ])
    expect(text).toContain(part);
});

test("it needs nothing from anywhere, and what others wrote cannot speak in it", () => {
  expect(page).not.toMatch(/<script|<link|<img|src=|@import|url\(/i);
  expect(page).toContain("default-src 'none'");
  expect(text).toContain("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;quotes&#39;");
});
