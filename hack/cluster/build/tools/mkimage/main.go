// Command mkimage writes a one-layer image (FROM scratch) as a tar that
// "ctr images import" and "docker load" read. Only the Go standard library,
// and the same inputs give the same bytes: no clock, no host names.
//
//	mkimage -o pause.tar -t registry.local/pause:1 -entrypoint /pause pause=/pause
//
// A symbolic link goes in as one; anything else as what it contains.
// Several names, separated by commas, are given to the same image.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path"
	"runtime"
	"strings"
)

type entry struct {
	name string
	mode int64
	dir  bool
	link string
	data []byte
}

func tarball(entries []entry) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if e.dir {
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
		}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(h); err != nil {
			log.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	return buf.Bytes()
}

func sum(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func must(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func main() {
	out := flag.String("o", "", "output tar")
	tag := flag.String("t", "", "image names with tags, separated by commas")
	entrypoint := flag.String("entrypoint", "", "entrypoint, split at spaces")
	labels := map[string]string{}
	flag.Func("label", "KEY=VALUE of the image's configuration; may be repeated", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("a label is KEY=VALUE")
		}
		labels[key] = value
		return nil
	})
	user := flag.String("user", "", "numeric uid[:gid]; must be numeric for runAsNonRoot")
	flag.Parse()
	if *out == "" || *tag == "" || flag.NArg() == 0 {
		log.Fatal("usage: mkimage -o OUT -t NAME:TAG [-entrypoint CMD] [-user UID] [-label K=V] HOSTFILE=/PATH ...")
	}
	var files []entry
	seen := map[string]bool{}
	for _, a := range flag.Args() {
		src, dst, ok := strings.Cut(a, "=")
		if !ok {
			log.Fatalf("bad argument %q", a)
		}
		st, err := os.Lstat(src)
		if err != nil {
			log.Fatal(err)
		}
		var b []byte
		var link string
		if st.Mode()&os.ModeSymlink != 0 {
			link, err = os.Readlink(src)
		} else {
			b, err = os.ReadFile(src)
		}
		if err != nil {
			log.Fatal(err)
		}
		// Not the file's own mode, which depends on somebody's umask.
		mode := int64(0o644)
		if st.Mode().Perm()&0o111 != 0 {
			mode = 0o755
		}
		dst = strings.TrimPrefix(path.Clean(dst), "/")
		var parents []string
		for d := path.Dir(dst); d != "."; d = path.Dir(d) {
			parents = append([]string{d}, parents...)
		}
		for _, d := range parents {
			if !seen[d] {
				seen[d] = true
				files = append(files, entry{name: d, mode: 0o755, dir: true})
			}
		}
		files = append(files, entry{name: dst, mode: mode, link: link, data: b})
	}
	layer := tarball(files)
	config := map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer)}},
	}
	c := map[string]any{"Env": []string{"PATH=/bin:/"}}
	if *entrypoint != "" {
		c["Entrypoint"] = strings.Fields(*entrypoint)
	}
	if *user != "" {
		c["User"] = *user
	}
	if len(labels) > 0 {
		c["Labels"] = labels
	}
	config["config"] = c
	cfg := must(config)
	ldesc := map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + sum(layer), "size": len(layer)}
	manifest := must(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + sum(cfg), "size": len(cfg)},
		"layers": []any{ldesc},
	})
	names := strings.Split(*tag, ",")
	var manifests []any
	for _, name := range names {
		manifests = append(manifests, map[string]any{
			"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + sum(manifest), "size": len(manifest),
			"platform":    map[string]any{"architecture": runtime.GOARCH, "os": "linux"},
			"annotations": map[string]any{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name[strings.LastIndex(name, ":")+1:]},
		})
	}
	index := must(map[string]any{"schemaVersion": 2, "manifests": manifests})
	blob := func(b []byte) entry { return entry{name: "blobs/sha256/" + sum(b), mode: 0o644, data: b} }
	// "docker load" of old daemons wants manifest.json; it may point at the same blobs.
	docker := must([]any{map[string]any{
		"Config": "blobs/sha256/" + sum(cfg), "RepoTags": names, "Layers": []string{"blobs/sha256/" + sum(layer)},
	}})
	image := tarball([]entry{
		{name: "blobs", mode: 0o755, dir: true}, {name: "blobs/sha256", mode: 0o755, dir: true},
		blob(layer), blob(cfg), blob(manifest),
		{name: "index.json", mode: 0o644, data: index},
		{name: "manifest.json", mode: 0o644, data: docker},
		{name: "oci-layout", mode: 0o644, data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
	})
	// Renamed when whole: whoever finds the file may load it.
	if err := os.WriteFile(*out+".new", image, 0o644); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(*out+".new", *out); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %d bytes\n", *out, *tag, len(image))
}
