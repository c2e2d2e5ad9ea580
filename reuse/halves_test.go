package reuse_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// decisions returns for each sample of the batches at which steps it computed the last block, as 1.
func decisions(t *testing.T, m net, p reuse.Policy, batches []*seam.Batch) []string {
	t.Helper()
	list := make([]string, batches[0].Samples())
	var computed []bool
	at := seam.Site{Block: m.Shape().Blocks - 1, Part: seam.Block}
	outputs(t, m, reuse.Observe(p, reuse.Observer{
		Sites: seam.SitesOf(seam.Block),
		Begin: func(*tensor.Graph, *seam.Batch, []int) { computed = make([]bool, len(list)) },
		Computed: func(site seam.Site, x, _ *seam.Tokens) {
			for _, sample := range x.Rows.Sample {
				computed[sample] = computed[sample] || site == at
			}
		},
		Site: func(site seam.Site, _, _ *seam.Tokens) {
			for sample := range computed {
				if site == at && computed[sample] {
					list[sample] += "1"
				} else if site == at {
					list[sample] += "0"
				}
			}
		},
	}), batches, 1)
	return list
}

// TestJointHalves checks that with halves=joint guidance's halves of each image decide alike,
// whatever images are next to it, and that by themselves they decide otherwise.
func TestJointHalves(t *testing.T) {
	m := model(t)
	const images = 3
	for _, text := range []string{"teacache:threshold=0.35", "seacache:threshold=0.55"} {
		t.Run(text, func(t *testing.T) {
			joint := parse(t, text+",halves=joint")
			all := inputs(m, images)
			together := decisions(t, m, joint, guided(m, all))
			for i := range images {
				alone := decisions(t, m, joint, guided(m, pick(all, i)))
				if got := []string{together[i], together[images+i]}; alone[0] != alone[1] || !slices.Equal(got, alone) {
					t.Errorf("image %d: %s next to others, %s alone, want all alike", i, got, alone)
				}
			}
			if separate := decisions(t, m, parse(t, text), guided(m, all)); slices.Equal(separate, together) {
				t.Errorf("%s whether the halves decide jointly or not", separate)
			}
		})
	}
}
