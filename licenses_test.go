package tokencache_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// distributed is the program, whose binary contains the work of others.
const distributed = "./cmd/tokencache"

// noticed matches the lines of NOTICE that list a module and its licence.
var noticed = regexp.MustCompile(`(?m)^  ([a-z0-9.]+\.[a-z]+/\S+) +(MIT|BSD-[23]-Clause|MPL-2\.0|Apache-2\.0)$`)

// licenceFiles are the names under which modules keep their licences.
var licenceFiles = []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"}

// evenSpaces returns a text with its white space evened out, so that other line breaks are no
// difference.
func evenSpaces(text string) string { return strings.Join(strings.Fields(text), " ") }

// notice returns the file NOTICE.
func notice(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// linked returns the modules that the program links on any of the common platforms, with their
// folders.
func linked(t *testing.T) map[string]string {
	t.Helper()
	modules := map[string]string{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		t.Setenv("GOOS", system)
		for _, fields := range list(t, "-deps", "-f",
			`{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}`, distributed) {
			if len(fields) == 2 {
				modules[fields[0]] = fields[1]
			}
		}
	}
	return modules
}

// TestNoticeListsModules checks that NOTICE lists the modules that the program links and no others.
func TestNoticeListsModules(t *testing.T) {
	modules := linked(t)
	if len(modules) == 0 {
		t.Fatal("the program links no modules: go list's answer is not understood")
	}
	var listed []string
	for _, match := range noticed.FindAllStringSubmatch(notice(t), -1) {
		listed = append(listed, match[1])
	}
	for path := range modules {
		if !slices.Contains(listed, path) {
			t.Errorf("module %s is linked: add it to NOTICE, with its licence in full", path)
		}
	}
	for _, path := range listed {
		if _, ok := modules[path]; !ok {
			t.Errorf("module %s is not linked: take it out of NOTICE", path)
		}
	}
}

const standardLibrary = "the standard library"

// TestNoticeHasLicences checks that NOTICE has, word for word, the licence of each module that the
// program links, and that of the standard library.
func TestNoticeHasLicences(t *testing.T) {
	folders := linked(t)
	folders[standardLibrary] = list(t, "-f", "{{.Root}}", "fmt")[0][0]
	all := evenSpaces(notice(t))
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			licence := ""
			for _, file := range licenceFiles {
				if text, err := os.ReadFile(filepath.Join(folder, file)); err == nil {
					licence = evenSpaces(string(text))
					break
				}
			}
			switch {
			case licence == "" && name == standardLibrary:
				t.Skip("this Go installation has no LICENSE")
			case licence == "":
				t.Errorf("%s: got no licence, want one of %s", folder, strings.Join(licenceFiles, ", "))
			case !strings.Contains(all, licence):
				t.Errorf("NOTICE has not the licence in %s: copy it", folder)
			}
		})
	}
}
