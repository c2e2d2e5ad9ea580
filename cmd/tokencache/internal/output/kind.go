package output

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// kind is a kind of output.
type kind int

const (
	kindFolder kind = iota
	kindSheet
	kindNPZ
	kindStdout
)

// Stdout is the path of standard output.
const Stdout = "-"

// otherFiles are endings that mean a file which this program does not write. A name with any other
// ending, such as that of run1.5x, is a folder's.
var otherFiles = []string{
	".avif", ".bmp", ".csv", ".gif", ".jpeg", ".jpg", ".json", ".npy", ".pdf", ".pt", ".safetensors", ".svg", ".tif",
	".tiff", ".txt", ".webp", ".zip",
}

// kindOf returns the kind of output that path names.
func kindOf(path string) (kind, error) {
	if path == Stdout {
		return kindStdout, nil
	}
	if err := checkName(path); err != nil {
		return 0, err
	}
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case ext == ".npz":
		return kindNPZ, nil
	case ext == ".png":
		return kindSheet, nil
	case slices.Contains(otherFiles, ext):
		return 0, fmt.Errorf("output %s: unknown kind %q: give a folder, FILE.png or FILE.npz", path, ext)
	}
	return kindFolder, nil
}

// devices are files that are standard output, on systems that have them.
var devices = []string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}

// checkName refuses names of outputs that a message could not show, and those of standard output.
func checkName(path string) error {
	switch {
	case strings.ContainsFunc(path, unicode.IsControl):
		return fmt.Errorf("output %q: want a name without control characters", path)
	case slices.Contains(devices, path):
		return fmt.Errorf("output %s: want %s for standard output, of a PNG file", path, Stdout)
	}
	return nil
}
