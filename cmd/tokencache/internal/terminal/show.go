package terminal

import (
	"io"
	"os"
	"os/exec"
	"runtime"
)

// Viewer returns the command that opens a file in the desktop's program for it, or "" if w is no
// terminal or there is no display.
func Viewer(w io.Writer) string {
	if !isTerminal(w) {
		return ""
	}
	return viewerOf(runtime.GOOS, os.Getenv)
}

func viewerOf(system string, env func(string) string) string {
	switch {
	case system == "darwin":
		return "open"
	case system == "windows":
		return "explorer"
	case env("DISPLAY") != "" || env("WAYLAND_DISPLAY") != "":
		return "xdg-open"
	}
	return ""
}

// Show opens a file with a viewer, and does not wait for it. It reports whether that began.
func Show(viewer, path string) bool {
	if viewer == "" {
		return false
	}
	return exec.Command(viewer, path).Start() == nil
}
