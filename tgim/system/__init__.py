"""Services of the operating system: settings of the process, and files that are written whole."""
