package volumes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"

	"berth/project"
	"berth/volumes"
)

// load reads a compose file as the command line does, in the folder /work/shop.
func load(t *testing.T, text string) *project.Project {
	t.Helper()
	loaded, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/work/shop",
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(text)}},
		Environment: types.Mapping{"TOKEN": "from the shell"},
	}, func(o *loader.Options) {
		o.SetProjectName("shop", true)
		o.SkipConsistencyCheck = true
	})
	if err != nil {
		t.Fatal(err)
	}
	return &project.Project{Project: loaded, Separator: "-"}
}

// line is a mount in words: kind target<-source and what differs from a plain one.
func line(m volumes.Mount) string {
	s := fmt.Sprintf("%s %s<-%s", m.Kind, m.Target, m.Source)
	add := func(yes bool, format string, args ...any) {
		if yes {
			s += " " + fmt.Sprintf(format, args...)
		}
	}
	add(m.ReadOnly, "read-only")
	add(len(m.Options) > 0, "%s", strings.Join(m.Options, ","))
	add(m.CreateSource, "make")
	add(m.CopyUp, "copy")
	add(m.Subpath != "", "sub=%s", m.Subpath)
	add(m.SizeBytes != 0, "size=%d", m.SizeBytes)
	add(m.Mode != 0, "mode=%o", m.Mode)
	add(m.Kind == volumes.File, "%d:%d %o %q%s", m.UID, m.GID, m.FileMode, m.Data, m.SourceFile)
	add(m.Secret, "secret")
	add(m.Volume != nil, "declared")
	add(len(m.Labels) > 0, "%v", m.Labels)
	return s
}

func TestMounts(t *testing.T) {
	for name, c := range map[string]struct {
		service string // the fields of services.web
		top     string
		in      volumes.Inputs
		want    []string
	}{
		"binds, short": {
			service: `volumes: ["./html:/var/www", "/etc/x:/x:ro", "../up:/up:rw,rslave"]`,
			want: []string{
				"bind /up<-/work/up rbind,rslave make",
				"bind /x<-/etc/x read-only rbind,rro make",
				"bind /var/www<-/work/shop/html rbind make",
			},
		},
		"binds, long": {
			service: `volumes:
      - {type: bind, source: ./a, target: /a}
      - {type: bind, source: ./b, target: /b, bind: {create_host_path: false, propagation: rshared}}
      - {type: bind, source: ./c, target: /c, read_only: true, bind: {recursive: disabled}}
      - {type: bind, source: ./d, target: /d, read_only: true, bind: {recursive: writable}}
      - {type: bind, source: ./e, target: /e, read_only: true, bind: {recursive: readonly}}`,
			want: []string{
				"bind /a<-/work/shop/a rbind make",
				"bind /b<-/work/shop/b rbind,rshared",
				"bind /c<-/work/shop/c read-only bind,ro make",
				"bind /d<-/work/shop/d read-only rbind,ro make",
				"bind /e<-/work/shop/e read-only rbind,rro make",
			},
		},
		"named volumes": {
			service: `volumes: ["data:/data", "ext:/ext:ro", "data:/nocopy:nocopy", {type: volume, source: data, target: /sub, volume: {subpath: in/side}}]`,
			top:     "volumes: {data: {}, ext: {external: true, name: theirs}}",
			want: []string{
				"volume /data<-shop_data copy declared",
				"volume /ext<-theirs read-only copy declared",
				"volume /nocopy<-shop_data declared",
				"volume /sub<-shop_data sub=in/side declared",
			},
		},
		"anonymous volumes, new and kept": {
			service: `volumes: ["/new", "/kept", {type: volume, target: /l, volume: {labels: {a: b}}}]`,
			in:      volumes.Inputs{Previous: map[string]string{"/kept": "0123", "/gone": "4567"}, NewName: names()},
			want:    []string{"anonymous /kept<-0123 copy", "anonymous /l<-name1 copy map[a:b]", "anonymous /new<-name2 copy"},
		},
		"volumes of the image, where nothing else is": {
			service: `volumes: ["./d:/data", "/own"]
    tmpfs: /run`,
			in:   volumes.Inputs{ImageVolumes: []string{"/data/", "/own", "/run", "var/lib/mysql", "/data/below"}, Previous: map[string]string{"/var/lib/mysql": "77"}},
			want: []string{"bind /data<-/work/shop/d rbind make", "anonymous /own<- copy", "tmpfs /run<-", "anonymous /data/below<- copy", "anonymous /var/lib/mysql<-77 copy"},
		},
		"tmpfs, short and long": {
			service: `tmpfs: ["/run", "/t:size=64m,mode=1770,uid=33,exec", "/ro:ro,size=50%"]
    volumes: [{type: tmpfs, target: /l, tmpfs: {size: 1k, mode: 0700}}]`,
			want: []string{"tmpfs /l<- size=1024 mode=700", "tmpfs /ro<- read-only size=50%", "tmpfs /run<-", "tmpfs /t<- uid=33,exec size=67108864 mode=1770"},
		},
		"volumes_from: volumes and binds, later entries and own volumes first": {
			service: `volumes_from: ["db", "container:old:ro"]
    volumes: ["./mine:/c"]`,
			in: volumes.Inputs{From: map[string][]volumes.Mount{
				"db": {
					{Kind: volumes.Named, Target: "/a", Source: "v", CopyUp: true}, {Kind: volumes.Bind, Target: "/b", Source: "/b", Options: []string{"rbind"}, CreateSource: true},
					{Kind: volumes.Bind, Target: "/c", Source: "/theirs"}, {Kind: volumes.Tmpfs, Target: "/t"}, {Kind: volumes.File, Target: "/f"},
				},
				"container:old": {{Kind: volumes.Anonymous, Target: "/a", Source: "anon"}, {Kind: volumes.Bind, Target: "/d", Source: "/d", Options: []string{"rbind"}}},
			}},
			want: []string{"anonymous /a<-anon read-only", "bind /b<-/b rbind", "bind /c<-/work/shop/mine rbind make", "bind /d<-/d read-only rbind,rro"},
		},
		"secrets and configs from files are binds": {
			service: "secrets: [cert, {source: cert, target: other}, {source: cert, target: /abs}]\n    configs: [conf, {source: conf, target: etc/conf}]",
			top:     "secrets: {cert: {file: ./cert.pem}}\nconfigs: {conf: {file: /etc/conf}}",
			want: []string{
				"bind /abs<-/work/shop/cert.pem read-only rbind,rro secret",
				"bind /conf<-/etc/conf read-only rbind,rro",
				"bind /etc/conf<-/etc/conf read-only rbind,rro",
				"bind /run/secrets/cert<-/work/shop/cert.pem read-only rbind,rro secret",
				"bind /run/secrets/other<-/work/shop/cert.pem read-only rbind,rro secret",
			},
		},
		"with an owner or a mode they are written": {
			service: `secrets: [{source: cert, uid: "33", gid: "34", mode: 0400}, token]
    configs: [text, {source: text, target: /run/secrets/token}]`,
			top: "secrets: {cert: {file: ./cert.pem}, token: {environment: TOKEN}}\nconfigs: {text: {content: \"a=1\\n\"}}",
			want: []string{
				`file /text<- read-only 0:0 444 "a=1\n"`,
				`file /run/secrets/cert<- read-only 33:34 400 ""/work/shop/cert.pem secret`,
				`file /run/secrets/token<- read-only 0:0 444 "from the shell" secret`,
			},
		},
		"a volume wins over a secret": {
			service: `secrets: [token]
    volumes: ["./t:/run/secrets/token"]`,
			top:  "secrets: {token: {environment: TOKEN}}",
			want: []string{"bind /run/secrets/token<-/work/shop/t rbind make"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, "services:\n  web:\n    image: x\n    "+c.service+"\n"+c.top+"\n")
			got, err := volumes.Mounts(p, p.Services["web"], c.in)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, m := range got {
				lines = append(lines, line(m))
			}
			if !reflect.DeepEqual(lines, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func names() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint("name", n) }
}

func TestMountsOfAV1File(t *testing.T) {
	p := load(t, `services: {db: {image: x}}`)
	p.Legacy = true
	db := p.Services["db"]
	db.Volumes = []types.ServiceVolumeConfig{{Type: "volume", Source: "global", Target: "/data"}}
	got, err := volumes.Mounts(p, db, volumes.Inputs{})
	if err != nil || len(got) != 1 || got[0].Source != "global" || got[0].Volume != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMountsRefuses(t *testing.T) {
	for name, c := range map[string]struct{ service, top, want string }{
		"a volume and a tmpfs at one place": {`tmpfs: /data/
    volumes: ["./d:/data"]`, "", `services.web.tmpfs: two mounts at "/data": bind and tmpfs`},
		"a target that is not absolute":          {`volumes: ["./d:data"]`, "", `target "data" is not an absolute path`},
		"a volume with a name of one letter":     {`volumes: ["d:/data"]`, "volumes: {d: {}}", `target "d:/data" is not an absolute path`},
		"the root":                               {`volumes: ["./d:/a/.."]`, "", "target is /"},
		"an unknown type":                        {`volumes: [{type: cluster, source: x, target: /x}]`, "", `type "cluster" at "/x" is not supported`},
		"recursive readonly on a writable bind":  {`volumes: [{type: bind, source: x, target: /x, bind: {recursive: readonly}}]`, "", "bind.recursive: readonly"},
		"an unknown propagation":                 {`volumes: [{type: bind, source: x, target: /x, bind: {propagation: sideways}}]`, "", `bind.propagation: "sideways"`},
		"an unknown tmpfs option":                {`tmpfs: "/t:sise=5"`, "", `unknown option "sise=5"`},
		"a size that is none":                    {`tmpfs: "/t:size=big"`, "", `size "big"`},
		"a mode that is none":                    {`tmpfs: "/t:mode=rwx"`, "", `mode "rwx"`},
		"a secret that is not declared":          {`secrets: [x]`, "", `secret "x" is not declared`},
		"a variable that is not set":             {`secrets: [x]`, "secrets: {x: {environment: NOT_SET}}", `environment variable "NOT_SET" is not set`},
		"an external config":                     {`configs: [x]`, "configs: {x: {external: true}}", "external configs are not supported"},
		"an owner by name":                       {`configs: [{source: x, uid: mysql}]`, "configs: {x: {content: y}}", `services.web.configs.uid: "mysql" is not a number`},
		"volumes of a container nobody knows of": {`volumes_from: ["container:gone"]`, "", `the mounts of "container:gone" are not known`},
		"a mode of volumes_from that is none":    {`volumes_from: ["db:rx"]`, "", `mode "rx"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, "services:\n  web:\n    image: x\n    "+c.service+"\n"+c.top+"\n")
			_, err := volumes.Mounts(p, p.Services["web"], volumes.Inputs{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %v, want %q", err, c.want)
			}
			if !errdefs.IsInvalidArgument(err) {
				t.Error("it is no invalid argument")
			}
		})
	}
}

func TestMountsAreTheSameForTheSameInput(t *testing.T) {
	text := `services: {web: {image: x, volumes: ["./a:/a", "vol:/b", "/c"], tmpfs: [/d, /e], secrets: [s, {source: s, target: t}]}}
volumes: {vol: {}}
secrets: {s: {environment: TOKEN}}`
	run := func() string {
		p := load(t, text)
		got, err := volumes.Mounts(p, p.Services["web"], volumes.Inputs{ImageVolumes: []string{"/x", "/y", "/z"}, NewName: names()})
		if err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := run()
	for range 20 {
		if again := run(); again != first {
			t.Fatalf("got\n%s\nand\n%s", first, again)
		}
	}
}

func TestNoticesNameWhatIsIgnored(t *testing.T) {
	p := load(t, `services: {web: {image: x, volumes: ["/a", "./b:/b:z"]}}`)
	got := volumes.Notices(p.Services["web"])
	if len(got) != 1 || got[0].Key != "services.web.volumes[1].bind.selinux" {
		t.Errorf("got %v", got)
	}
}
