// Some browsers name a language that their own number formats refuse (en-US@posix); the charts ask for it as they load.
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
