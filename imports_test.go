package tokencache_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImportDirection holds that data flows one way: a package may import only what stands before it. The room a package is
// in, and what it may see, is in docs/design.md.
func TestImportDirection(t *testing.T) {
	const module = "github.com/tokencache/tokencache"
	// What each package may import of this module, in order from the floor up; "." is the library, the root package.
	allowed := map[string]string{
		"internal/kernel":                 "",
		"internal/atomicfile":             "",
		"internal/median":                 "",
		"internal/npz":                    "internal/atomicfile",
		"internal/raster":                 "internal/atomicfile",
		"internal/sheet":                  "internal/raster",
		"internal/imagenet":               "",
		"internal/spelling":               "",
		"internal/classes":                "internal/spelling",
		"cmd/tokencache/internal/output":  "checkpoint diffusion internal/atomicfile internal/classes internal/npz internal/raster internal/sheet",
		"internal/formula":                "",
		"checkpoint":                      "internal/atomicfile",
		"tensor":                          "internal/kernel",
		"nn":                              "tensor",
		"dit":                             "checkpoint tensor nn",
		"vae":                             "checkpoint tensor nn",
		"diffusion":                       "",
		"reuse":                           "checkpoint tensor nn dit internal/kernel internal/atomicfile",
		".":                               "reuse checkpoint tensor dit vae diffusion internal/kernel internal/median internal/raster internal/classes internal/imagenet internal/npz",
		"data":                            "internal/npz internal/raster internal/sheet",
		"eval":                            "checkpoint tensor nn internal/npz internal/raster internal/formula",
		"train":                           "checkpoint data tensor nn dit diffusion eval reuse internal/kernel internal/atomicfile",
		"models/bundle":                   ". checkpoint diffusion dit eval reuse",
		"models/fashion":                  "diffusion models/bundle",
		"models/fashion-mdt":              "diffusion models/bundle",
		"models":                          ". diffusion dit eval reuse internal/spelling models/bundle models/fashion models/fashion-mdt",
		"report/internal/chart":           "",
		"report":                          "internal/atomicfile internal/median report/internal/chart",
		"cmd/tokencache/internal/inspect": "checkpoint dit vae",
		"calibrate":                       ". checkpoint diffusion dit reuse tensor train internal/atomicfile internal/kernel",
		"cmd/tokencache/internal/verify":  "calibrate train reuse . checkpoint tensor dit vae diffusion internal/formula",
		"cmd/tokencache/internal/bench":   "tensor nn dit reuse train internal/kernel internal/median",
		"bench/peers/block":               "checkpoint dit nn tensor",
		"comparison":                      ". eval report reuse tensor internal/atomicfile internal/median internal/npz",
		"redundancy":                      ". dit reuse tensor report internal/classes internal/kernel",
		"cmd/tokencache":                  "*",
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	name := func(path string) (string, bool) {
		if path == module {
			return ".", true
		}
		return strings.CutPrefix(path, module+"/")
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		pkg, _ := name(fields[0])
		may, known := allowed[pkg]
		if !known {
			t.Errorf("package %s: say in this test what it may import", pkg)
			continue
		}
		for _, path := range fields[1:] {
			dep, own := name(path)
			if own && may != "*" && !slices.Contains(strings.Fields(may), dep) {
				t.Errorf("package %s imports %s, which it may not", pkg, dep)
			}
		}
	}
}
