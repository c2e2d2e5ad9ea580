package serve

import "testing"

func TestTraceID(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for _, test := range []struct{ header, want string }{
		{"00-" + id + "-b7ad6b7169203331-01", id},
		{"cc-" + id + "-b7ad6b7169203331-01-of later versions", id},
		{"", ""},
		{"00-" + id + "-b7ad6b7169203331", ""},
		{"ff-" + id + "-b7ad6b7169203331-01", ""},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""},
		{"00-" + id + "0-b7ad6b7169203331-01", ""},
		{"00-\"; drop" + id[8:] + "-b7ad6b7169203331-01", ""},
	} {
		if got := traceID(test.header); got != test.want {
			t.Errorf("traceID(%q) = %q, want %q", test.header, got, test.want)
		}
	}
}
