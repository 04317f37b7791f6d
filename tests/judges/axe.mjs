// axe.mjs URL...: one line for each finding, in both colour schemes, on a wide and a narrow screen.
// COOKIE is sent along; the exit code is 1 when there is a finding.
import { AxePuppeteer } from "@axe-core/puppeteer";
import puppeteer from "puppeteer-core";

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const browser = await puppeteer.launch({
  executablePath: process.env.CHROME_PATH ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
let findings = 0;
const tell = (...words) => {
  findings += 1;
  console.log(...words);
};

for (const url of process.argv.slice(2)) {
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 320]) {
      const where = `${url} (${scheme}, ${width} px)`;
      const page = await browser.newPage();
      // Our policy lets no script in but our own, so not axe either.
      await page.setBypassCSP(true);
      // Each look is a first one: what was seen before would be answered with 304.
      await page.setCacheEnabled(false);
      await page.setViewport({ width, height: 900 });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      if (process.env.COOKIE) await page.setExtraHTTPHeaders({ Cookie: process.env.COOKIE });
      // `networkidle` would wait for ever where a page listens to events.
      const answer = await page.goto(url, { waitUntil: "load" });
      if (answer.status() !== 200) tell(where, `status ${answer.status()}`);
      const { violations } = await new AxePuppeteer(page).withTags(TAGS).analyze();
      for (const { id, impact, nodes } of violations) {
        tell(where, `${id} (${impact})`, nodes.map((node) => node.target.join(" ")).join(", "));
      }
      const sideways = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return scrollWidth - clientWidth;
      });
      if (sideways > 0) tell(where, `scrolls sideways by ${sideways} px`);
      await page.close();
    }
  }
}
await browser.close();
process.exit(findings ? 1 : 0);
