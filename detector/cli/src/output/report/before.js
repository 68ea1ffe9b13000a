// Some browsers report a language that Intl.NumberFormat rejects (en-US@posix), and uPlot uses it on load.
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
