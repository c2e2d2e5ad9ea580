package regularfile

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("four"), 0o644); err != nil {
		t.Fatal(err)
	}
	paths := []string{"text", "nothing", "."}
	if os.Symlink("/dev/zero", filepath.Join(dir, "zero")) == nil {
		paths = append(paths, "zero")
	}
	for _, name := range paths {
		want := map[string]error{"nothing": fs.ErrNotExist, ".": ErrNotRegular, "zero": ErrNotRegular}[name]
		path := filepath.Join(dir, name)
		b, err := Read(path, MaxText)
		inFS, errFS := ReadFS(os.DirFS(dir), name, MaxText)
		if !errors.Is(err, want) || !errors.Is(errFS, want) {
			t.Errorf("%s: errors %v and %v, want %v", name, err, errFS, want)
		}
		if want != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not name the file", name, err)
		}
		if want == nil && (string(b) != "four" || string(inFS) != "four") {
			t.Errorf("%s: read %q and %q", name, b, inFS)
		}
	}
	if _, err := Read(filepath.Join(dir, "text"), 3); err == nil || !strings.Contains(err.Error(), "want at most 3") {
		t.Errorf("a file of 4 bytes, at most 3: error %v", err)
	}
	if _, err := ReadFS(os.DirFS(dir), "text", 3); err == nil {
		t.Error("in a file system, a file of 4 bytes, at most 3: no error")
	}
}

// TestOneMechanism checks that the module's packages open files for reading through this one. The
// exceptions are not foreign files, or make the same checks.
func TestOneMechanism(t *testing.T) {
	exceptions := []string{
		"internal/atomicfile/atomicfile.go",          // folders, to sync them
		"internal/regularfile/regularfile.go",        // this package
		"cmd/tokencache/internal/bench/processor.go", // /proc/cpuinfo
		"cmd/tokencache/internal/load/memory.go",     // /proc/self/statm
		"internal/busy/busy.go",                      // /proc/loadavg and /proc/self/stat
		"bench/start/main.go",                        // /proc/PID/smaps_rollup
	}
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
			return fs.SkipDir
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
			slices.Contains(exceptions, filepath.ToSlash(name)) {
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if ok && (x.Name == "os" && (s.Sel.Name == "Open" || s.Sel.Name == "ReadFile")) {
				t.Errorf("%s: os.%s: want regularfile's functions, which refuse pipes and devices",
					files.Position(s.Pos()), s.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
