import { startShell } from "./shell.js"; await startShell("teach");
