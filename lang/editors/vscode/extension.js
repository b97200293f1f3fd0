// Starts `onvmc lsp` for chain sources and files of rules; everything else is the server's.

const { commands, workspace, window } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const settings = workspace.getConfiguration("onvm");
  const command = settings.get("path");
  client = new LanguageClient(
    "onvm",
    "onvm chains",
    { command, args: ["lsp"] },
    {
      documentSelector: [{ language: "chain" }, { language: "chain-rules" }],
      initializationOptions: { set: settings.get("set"), overlaps: settings.get("overlaps") },
    },
  );
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    window.showErrorMessage(
      `\`${command} lsp\` cannot be started (${error.message}). Install onvmc, or set "onvm.path" to where it is.`,
    );
  }
}

async function stop() {
  const running = client;
  client = undefined;
  await running?.stop();
}

async function restart() {
  await stop();
  await start();
}

async function activate(context) {
  context.subscriptions.push(
    commands.registerCommand("onvm.restart", restart),
    workspace.onDidChangeConfiguration(async (change) => {
      if (change.affectsConfiguration("onvm")) {
        await restart();
      }
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
