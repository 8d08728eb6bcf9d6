// Uploads a file of events with @azure/monitor-ingestion, as often as it takes. What it needs stands in the environment.
const fs = require("fs");
const { ClientSecretCredential } = require("@azure/identity");
const { LogsIngestionClient } = require("@azure/monitor-ingestion");

const { GATE, TENANT, CLIENT, SECRET, EVENTS, RULE, STREAM } = process.env;

async function main() {
  const credential = new ClientSecretCredential(TENANT, CLIENT, SECRET, {
    authorityHost: GATE,
    disableInstanceDiscovery: true,
  });
  const client = new LogsIngestionClient(GATE, credential);
  const events = JSON.parse(fs.readFileSync(EVENTS, "utf8"));
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      await client.upload(RULE, STREAM, events);
      console.log("uploaded");
      return 0;
    } catch (error) {
      // An application that only knows that it failed sends everything again.
      console.error(`attempt ${attempt}:`, String(error), JSON.stringify(error.errors || "").slice(0, 2000));
    }
  }
  return 1;
}

main().then((code) => process.exit(code));
