package tokencache_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tokencache/tokencache"

// storey is a part of the house: its packages, from the lowest up, with what each may import of
// this module. "." is the library, the root package.
type storey struct {
	name     string
	packages []room
}

type room struct{ name, may string }

// storeys are the four of docs/design.md. A package imports only what stands before it.
var storeys = []storey{
	{"foundation", []room{
		{"internal/kernel", ""},
		{"internal/atomicfile", ""},
		{"internal/filelock", "internal/atomicfile"},
		{"internal/bounded", ""},
		{"internal/digest", ""},
		{"internal/regularfile", ""},
		{"internal/mapped", "internal/regularfile"},
		{"internal/median", ""},
		{"internal/busy", ""},
		{"internal/formula", ""},
		{"internal/imagenet", ""},
		{"internal/spelling", ""},
		{"internal/classes", "internal/spelling"},
		{"internal/imagefile", "internal/regularfile"},
		{"internal/npz", "internal/atomicfile internal/regularfile"},
		{"internal/raster", "internal/atomicfile internal/regularfile"},
		{"internal/sheet", "internal/raster"},
	}},
	{"engine", []room{
		{"checkpoint", "internal/atomicfile internal/regularfile"},
		{"unigram", "checkpoint"},
		{"diffusion", "internal/spelling"},
		{"tensor", "internal/kernel"},
		{"nn", "tensor"},
		{"t5", "checkpoint nn tensor"},
		{"seam", "tensor"},
		{"minit2i", "checkpoint diffusion nn seam tensor"},
		{"prompt", "checkpoint internal/regularfile minit2i t5 tensor unigram"},
		{"dit", "checkpoint diffusion internal/atomicfile internal/mapped internal/regularfile nn seam tensor"},
		{"vae", "checkpoint nn tensor"},
		{"reuse", "checkpoint diffusion dit internal/atomicfile internal/digest internal/kernel internal/regularfile internal/spelling nn seam tensor"},
		{".", "diffusion dit internal/classes internal/imagenet internal/kernel internal/raster minit2i prompt reuse seam tensor vae"},
	}},
	{"workshop", []room{
		{"internal/pngtext", ". diffusion internal/raster"},
		{"data", "internal/imagefile internal/npz internal/raster internal/regularfile internal/sheet"},
		{"eval", "checkpoint internal/npz internal/raster nn tensor"},
		{"shard", "eval internal/npz internal/raster"},
		{"jobs", "internal/atomicfile internal/digest internal/filelock internal/regularfile shard"},
		{"report/internal/chart", ""},
		{"report", "diffusion eval internal/atomicfile internal/median report/internal/chart reuse"},
		{"train", ". checkpoint data diffusion dit eval internal/atomicfile internal/classes internal/kernel internal/raster internal/regularfile internal/sheet minit2i nn report reuse seam tensor unigram"},
		{"measure", ". diffusion eval internal/busy internal/median reuse"},
		{"redundancy", ". internal/atomicfile internal/kernel report reuse seam tensor"},
		{"calibrate", ". checkpoint diffusion eval internal/atomicfile internal/digest internal/kernel internal/median internal/regularfile measure nn redundancy reuse seam tensor train"},
		{"comparison", ". calibrate data diffusion eval internal/atomicfile internal/digest internal/npz internal/regularfile measure redundancy report reuse tensor"},
		{"models/bundle", ". checkpoint diffusion dit eval minit2i reuse"},
		{"models/emoji", "diffusion models/bundle"},
		{"models/fashion", "diffusion models/bundle"},
		{"models/fashion-mdt", "diffusion models/bundle"},
		{"models", ". checkpoint diffusion dit eval internal/kernel internal/spelling minit2i models/bundle models/emoji models/fashion models/fashion-mdt reuse"},
		{"serve", ". diffusion internal/atomicfile internal/filelock internal/pngtext internal/raster internal/regularfile models models/bundle reuse"},
	}},
	{"program", []room{
		{"bench/jobs/simulate", ""},
		{"bench/start", ". checkpoint dit internal/formula tensor"},
		{"bench/emoji/make", "internal/raster internal/regularfile"},
		{"bench/minit2i/weights", "checkpoint internal/formula internal/regularfile minit2i t5"},
		{"bench/peers/pass", "checkpoint dit internal/formula internal/kernel internal/median minit2i nn seam tensor"},
		{"cmd/tokencache/internal/version", "internal/kernel internal/regularfile"},
		{"cmd/tokencache/internal/calibration", "calibrate comparison reuse"},
		{"cmd/tokencache/internal/contracts", ". models/bundle reuse"},
		{"cmd/tokencache/internal/effect", "."},
		{"cmd/tokencache/internal/output", ". checkpoint eval internal/atomicfile internal/classes internal/filelock internal/imagefile internal/npz internal/pngtext internal/raster internal/regularfile internal/sheet shard"},
		{"cmd/tokencache/internal/jobsrun", ". cmd/tokencache/internal/output cmd/tokencache/internal/version eval internal/digest internal/kernel internal/npz internal/regularfile jobs shard"},
		{"cmd/tokencache/internal/summary", ". calibrate eval measure reuse"},
		{"cmd/tokencache/internal/terminal", "train"},
		{"cmd/tokencache/internal/listing", "diffusion dit internal/imagenet models models/bundle reuse"},
		{"cmd/tokencache/internal/inspect", "checkpoint dit minit2i models models/bundle prompt vae"},
		{"cmd/tokencache/internal/bench", ". diffusion dit internal/busy internal/kernel internal/median minit2i reuse seam tensor train"},
		{"cmd/tokencache/internal/load", ". internal/pngtext internal/raster models models/bundle reuse serve"},
		{"cmd/tokencache/internal/verify", "calibrate checkpoint diffusion dit internal/formula internal/raster internal/regularfile minit2i prompt reuse seam t5 tensor train unigram vae"},
		{"cmd/tokencache", "*"},
	}},
}

// list is go list's answer: lines of fields.
func list(t *testing.T, args ...string) [][]string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var lines [][]string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		lines = append(lines, strings.Fields(line))
	}
	return lines
}

// own returns the name of a package of this module.
func own(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// TestImportDirection checks that data flows one way: every package imports only packages that
// stand before it in storeys and that it may import there, and no permit is left that is not used.
func TestImportDirection(t *testing.T) {
	level, may := map[string]int{}, map[string]string{}
	for _, s := range storeys {
		for _, r := range s.packages {
			level[r.name], may[r.name] = len(level), r.may
		}
	}
	upward := 0
	for _, fields := range list(t, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...") {
		pkg, _ := own(fields[0])
		allowed, known := may[pkg]
		if !known {
			t.Errorf("package %s: say in this test in which storey it is and what it may import", pkg)
			continue
		}
		var used []string
		for _, path := range fields[1:] {
			dep, ok := own(path)
			if !ok {
				continue
			}
			used = append(used, dep)
			if level[dep] >= level[pkg] {
				upward++
				t.Errorf("package %s imports %s, which stands above it", pkg, dep)
			}
			if allowed != "*" && !slices.Contains(strings.Fields(allowed), dep) {
				t.Errorf("package %s imports %s, which it may not", pkg, dep)
			}
		}
		for _, dep := range strings.Fields(allowed) {
			if dep != "*" && !slices.Contains(used, dep) {
				t.Errorf("package %s may import %s and does not: take the permit away", pkg, dep)
			}
		}
	}
	t.Logf("%d upward arrows between packages", upward)
}

// rootFiles are the files of the root package, from the lowest up.
var rootFiles = []string{
	"errors.go", "client.go", "request.go", "computed.go", "plan.go", "sequence.go", "job.go", "team.go", "engine.go",
	"decode.go", "tick.go", "tokencache.go", "check.go", "prompts.go", "subjects.go", "identity.go", "generate.go",
	"converged.go",
}

// maxRootArrows is how many pairs of files of the root package may use each other both ways: a job
// and its sequences, the engine and its ticks.
const maxRootArrows = 2

// TestRootFiles counts the upward arrows between top-level folders and files of the root package:
// an arrow from one file to another is a use of what the other declares. Between folders, and
// between folders and files, TestImportDirection allows none.
func TestRootFiles(t *testing.T) {
	uses := rootUses(t)
	upward := 0
	for i, low := range rootFiles {
		for _, high := range rootFiles[i+1:] {
			if names := uses[low][high]; len(names) > 0 {
				upward++
				t.Logf("upward: %s uses %s of %s", low, strings.Join(names, ", "), high)
			}
		}
	}
	t.Logf("%d upward arrows between top-level folders and root files", upward)
	if upward > maxRootArrows {
		t.Errorf("%d upward arrows, want at most %d", upward, maxRootArrows)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") && !slices.Contains(rootFiles, f) {
			t.Errorf("%s: say in rootFiles where it stands", f)
		}
	}
}

// rootUses type-checks the root package and returns what each file uses of what each other
// declares.
func rootUses(t *testing.T) map[string]map[string][]string {
	t.Helper()
	exports := map[string]string{}
	for _, fields := range list(t, "-export", "-deps", "-f", `{{.ImportPath}} {{.Export}}`, ".") {
		if len(fields) == 2 {
			exports[fields[0]] = fields[1]
		}
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range rootFiles {
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	config := types.Config{Importer: importer.ForCompiler(set, "gc", open)}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := config.Check(module, set, files, info)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]map[string][]string{}
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		from, to := set.Position(ident.Pos()).Filename, set.Position(object.Pos()).Filename
		if uses[from] == nil {
			uses[from] = map[string][]string{}
		}
		if !slices.Contains(uses[from][to], object.Name()) {
			uses[from][to] = append(uses[from][to], object.Name())
		}
	}
	return uses
}
