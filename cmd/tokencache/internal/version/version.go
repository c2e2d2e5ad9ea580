// Package version tells what this program is: its version, commit, Go, platform and CPU level.
package version

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// Version is what this program is, and what it runs on.
type Version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Level    string `json:"cpu_level"`
}

// changed ends the commit of a program that was built of changed files.
const changed = " with changes"

// Describe describes this program.
func Describe() Version {
	info, _ := debug.ReadBuildInfo()
	return describe(info)
}

// describe describes a program by what its linker noted, or nil.
func describe(info *debug.BuildInfo) Version {
	v := Version{
		Version:  "(devel)",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Level:    kernel.ActiveLevel().String(),
	}
	if info == nil {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value + v.Commit
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Commit += changed
		}
	}
	return v
}

// Build tells builds of the program apart, whose numbers may differ at the same CPU level. Of one
// whose commit is not known, or is not all of it, it has a hash of the executable.
func (v Version) Build() (string, error) {
	fields := []string{v.Version, v.Commit, v.Go, runtime.GOARCH}
	if v.Version == "(devel)" && v.Commit == "" || strings.HasSuffix(v.Commit, changed) {
		sum, err := hashExecutable()
		if err != nil {
			return "", err
		}
		fields = append(fields, sum)
	}
	return strings.Join(strings.Fields(strings.Join(fields, " ")), " "), nil
}

func hashExecutable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, _, err := regularfile.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func (v Version) String() string {
	commit := ""
	if v.Commit != "" {
		commit = "commit " + v.Commit + ", "
	}
	return fmt.Sprintf("tokencache %s (%s%s, %s), CPU level %s", v.Version, commit, v.Go, v.Platform, v.Level)
}
