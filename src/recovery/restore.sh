#!/bin/sh
# Brings a repository back from the points in this folder. Holdfast is not needed:
# git, tar, zstd and sha256sum are, and a shell; age (age-encryption.org) where the points are encrypted.
#
#   sh restore.sh [--list] [--identity FILE] [POINT|latest] [DIR]
#
# FILE holds the secret key (AGE-SECRET-KEY-…) of encrypted points; HOLDFAST_IDENTITY may name it too.
#
# What it does, and what you could do by hand (RECOVERY.md has the commands):
#   1. finds the point's manifest and the chain of points that it builds on
#   2. checks the sha256 of everything that it reads, and opens what is encrypted
#   3. unpacks the tarballs in order, oldest first, into a staging folder
#   4. makes a new repository and adds the bundles in order, then sets the refs
#   5. checks out the tracked files, and puts the files of the tarballs over them
#   6. sets modes and times, and lets git check the result
# It writes into DIR (new or empty) and DIR.worktrees, and nowhere else. Configuration and hooks of the old
# repository can run commands; they are kept in .git/holdfast-restored and not put to work.
set -eu
LC_ALL=C
export LC_ALL
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_PREFIX GIT_CONFIG GIT_NAMESPACE
HOLDFAST_ACTIVE=1
export HOLDFAST_ACTIVE
umask 022

fail() {
  printf 'error: %s\n' "$1" >&2
  if [ -n "${2-}" ]; then printf 'hint: %s\n' "$2" >&2; fi
  exit 1
}

say() { printf '%s\n' "$1"; }

# Our git: no hooks, no housekeeping, no monitor that a configuration could name.
quiet_git() { git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 -c maintenance.auto=false -c advice.detachedHead=false -c core.logAllRefUpdates=false "$@"; }

sum_of() { if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d' ' -f1; }

check_tools() {
  missing=
  for tool in git tar zstd sed awk sort head tail xargs touch chmod find mktemp tr; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
  command -v sha256sum >/dev/null 2>&1 || command -v shasum >/dev/null 2>&1 || missing="$missing sha256sum"
  [ -z "$missing" ] || fail "these programs are missing:$missing" "install them with the system's package manager and run this again"
}

# --- points and manifests: one field a line -------------------------------------------------------------------------

list_points() {
  for manifest in "$store"/[0-9]*/*.json; do
    id=${manifest##*/}
    id=${id%.json}
    case $id in
      [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]) say "$id" ;;
    esac
  done | sort
}

manifest_of() { printf '%s/%s/%s.json' "$store" "$(printf '%s' "$1" | cut -c1-8)" "$1"; }

field() { sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$(manifest_of "$1")"; }

find_point() {
  points=$(list_points)
  [ -n "$points" ] || fail "there is no point in $store" "is this the folder of a store? it has folders such as 20261121"
  if [ "$1" = latest ]; then
    printf '%s\n' "$points" | tail -n 1
    return
  fi
  case $1 in *[!0-9A-Za-z-]*) fail "$1 is not a point" "sh restore.sh --list; into a folder of that name: sh restore.sh latest $1" ;; esac
  found=$(printf '%s\n' "$points" | grep "^$1" || :)
  [ -n "$found" ] || fail "there is no point $1 in $store" "sh restore.sh --list"
  [ "$(printf '%s\n' "$found" | wc -l)" -eq 1 ] || fail "$1 fits several points" "give more characters: sh restore.sh --list"
  say "$found"
}

# The points to read, oldest first.
chain_of() {
  at=$1
  chain=
  steps=0
  while [ "$at" != null ]; do
    [ -f "$(manifest_of "$at")" ] || fail "the point needs $at, which is not here" "look for another copy of the store"
    format=$(field "$at" format)
    [ "$format" = 1 ] || fail "point $at has format ${format:-none}, this script reads format 1" "use the restore.sh of a newer copy of the store"
    [ "$(field "$at" id)" = "$at" ] || fail "the manifest of $at is damaged" "look for another copy of the store"
    chain="$at $chain"
    at=$(field "$at" base)
    steps=$((steps + 1))
    [ "$steps" -le 64 ] || fail "the chain of points does not end" "look for another copy of the store"
  done
  say "$chain"
}

# Sets `file` to the artifact of this kind, whole, checked and open; to nothing where the point has none.
# One that was encrypted again has the number of that time in its name: ID.r1.bundle.age
fetch() {
  file=
  line=$(grep "^    {\"name\":\"$1\(\.r[1-9][0-9]*\)\{0,1\}\.$2\(\.age\)\{0,1\}\"," "$(manifest_of "$1")" | head -n 1 || :)
  [ -n "$line" ] || return 0
  name=$(printf '%s' "$line" | sed 's/^    {"name":"\([^"]*\)".*/\1/')
  if [ "$name" = "$opened" ]; then
    file=$work/open
    return 0
  fi
  wanted=$(printf '%s' "$line" | sed 's/.*"sha256":"\([0-9a-f]*\)".*/\1/')
  file=$store/$(printf '%s' "$1" | cut -c1-8)/$name
  if [ ! -f "$file" ] && [ -f "$file.part001" ]; then
    cat "$file".part[0-9][0-9][0-9]* >"$work/joined"
    file=$work/joined
  fi
  [ -f "$file" ] || fail "$name is missing" "look for another copy of the store"
  [ "$(sum_of "$file")" = "$wanted" ] || fail "$name is damaged: its sha256 is not the one in the manifest" "look for another copy of the store, or an older point"
  case $name in *.age) decrypt ;; esac
}

# --- keys: only where something is encrypted -------------------------------------------------------------------------

identity=${HOLDFAST_IDENTITY-}
key=
opened=

find_key() {
  [ -z "$key" ] || return 0
  command -v age >/dev/null 2>&1 || fail "the point is encrypted, and the program age is missing" "install age (age-encryption.org) with the system's package manager and run this again"
  usual=${HOLDFAST_CONFIG_DIR:-${XDG_CONFIG_HOME:-${HOME-}/.config}/holdfast}/identity.txt
  if [ -z "$identity" ] && [ -f "$usual" ]; then identity=$usual; fi
  [ -n "$identity" ] || fail "the point is encrypted, and no key was named" "sh restore.sh --identity FILE $point; FILE holds the line that begins with AGE-SECRET-KEY-"
  if [ ! -f "$identity" ] || [ ! -r "$identity" ]; then fail "there is no key that can be read at $identity" "sh restore.sh --identity FILE $point"; fi
  key=$identity
  # One with a passphrase is opened once, instead of asking for each file. It goes with the scratch folder.
  if head -n 1 "$identity" | grep -aqx -e 'age-encryption.org/v1' -e '-----BEGIN AGE ENCRYPTED FILE-----.*'; then
    (umask 077 && age -d -o "$work/key" "$identity") || fail "the passphrase does not open $identity" "run it again; capitals and spaces count"
    key=$work/key
  fi
}

# Opens `file` into the scratch folder.
decrypt() {
  find_key
  opened=
  rm -f "$work/open"
  if ! (umask 077 && age -d -i "$key" -o "$work/open" "$file") 2>"$work/age"; then
    if grep -qi 'no identity matched' "$work/age"; then fail "the key in $identity does not open $name" "name another one: sh restore.sh --identity FILE $point"; fi
    cat "$work/age" >&2
    fail "$name is not what age can read with the key in $identity" "look for another copy of the store, or an older point"
  fi
  rm -f "$work/joined"
  opened=$name
  file=$work/open
}

# --- staging: the tarballs, oldest first -----------------------------------------------------------------------------

distrust() { fail "$1" "do not trust this store"; }

# No path that a store names may lead out of the staging folder.
check_names() {
  if tr '\0' '\n' <"$1" | grep -Eq '(^/|^\.\.$|^\.\./|/\.\./|/\.\.$)'; then distrust "the point names a path outside of its folder"; fi
}

# True when nothing above $2 in the folder $1 is a symlink.
is_inside() {
  above=$2
  while [ "$above" != "${above%/*}" ]; do
    above=${above%/*}
    if [ -L "$1/$above" ]; then return 1; fi
  done
}

# Removes what a NUL-terminated list names, and nothing that a symlink leads to: remove_listed ROOT LIST
remove_listed() {
  # shellcheck disable=SC2016
  (cd "$1" && xargs -0 sh -c '
    for path; do
      above=$path
      while [ "$above" != "${above%/*}" ]; do
        above=${above%/*}
        if [ -L "$above" ]; then continue 2; fi
      done
      printf "%s\0" "$path"
    done' sh <"$2" | xargs -0 rm -rf --)
}

# What this script itself walks into or reads are real folders and files, whatever lies below them.
check_stage() {
  for entry in "$stage"/* "$stage"/git/holdfast-* "$stage"/patches/* "$stage"/patches/*/* "$stage"/worktrees/* "$stage"/worktrees/*/* "$stage"/worktrees/*/git/holdfast-*; do
    if [ -L "$entry" ] || { [ -e "$entry" ] && [ ! -d "$entry" ] && [ ! -f "$entry" ]; }; then distrust "the point holds something that no backup writes"; fi
  done
}

# Links to folders step aside while a tarball is unpacked: none of its members goes through one that an earlier one made.
set_links_aside() {
  rm -rf "$work/links"
  mkdir "$work/links"
  # shellcheck disable=SC2016
  find "$stage" -type l -exec sh -c '
    aside=$0
    for link; do
      if [ ! -d "$link" ]; then continue; fi
      place=$(mktemp -d "$aside/XXXXXXXX")
      printf "%s" "$link" >"$place/path"
      mv "$link" "$place/link"
    done' "$work/links" {} +
}

put_links_back() {
  for place in "$work"/links/*/; do
    if [ ! -L "${place}link" ]; then continue; fi
    path=$(cat "${place}path" && printf x)
    path=${path%x}
    if is_inside "$stage" "${path#"$stage"/}" && [ ! -e "$path" ] && [ ! -L "$path" ]; then mv "${place}link" "$path"; fi
  done
}

unpack() {
  fetch "$1" tar.zst
  [ -n "$file" ] || return 0
  zstd -q -d -c "$file" >"$work/tar" || fail "$1.tar.zst does not decompress" "look for another copy of the store"
  tar -tf "$work/tar" >"$work/names" || fail "$1.tar.zst is not a tar" "look for another copy of the store"
  check_names "$work/names"
  if sed 's,/.*,,' "$work/names" | grep -Evqx 'untracked|modified|git|folder|worktrees|patches|deleted|times'; then
    distrust "$1.tar.zst holds something that no backup writes"
  fi
  if grep -qx deleted "$work/names"; then
    tar -xf "$work/tar" -C "$work" deleted
    if [ -L "$work/deleted" ] || [ ! -f "$work/deleted" ]; then distrust "the point's list of deletions is none"; fi
    check_names "$work/deleted"
    remove_listed "$stage" "$work/deleted"
    # A folder that is a file now: what is left of it is empty.
    for area in "$stage"/untracked "$stage"/modified "$stage"/worktrees/*/untracked "$stage"/worktrees/*/modified; do
      if [ -d "$area" ]; then find "$area" -depth -type d -exec rmdir {} + 2>/dev/null || :; fi
    done
  fi
  set_links_aside
  tar -xpf "$work/tar" -C "$stage" --no-same-owner
  put_links_back
  check_stage
  if [ -f "$stage/times" ]; then cat "$stage/times" >>"$work/times"; fi
  rm -f "$stage/times" "$stage/deleted"
  for patch in "$stage"/patches/*; do
    if [ -d "$patch" ]; then apply_patch "$patch"; fi
  done
  rm -rf "$stage/patches" "$work/joined"
}

# The new version of a large file: ranges of the old one, and new bytes.
apply_patch() {
  path=$(cat "$1/path" && printf x)
  path=${path%x}
  case /$path/ in */../* | //*) distrust "a patch names a path outside of its folder" ;; esac
  target=$stage/$path
  if ! is_inside "$stage" "$path" || [ -L "$target" ] || [ ! -f "$target" ]; then fail "a patch has no file to change" "look for another copy of the store"; fi
  cp -p "$1/data" "$work/patched"
  : >"$work/patched"
  while read -r from offset length; do
    case $from in
      base) tail -c "+$((offset + 1))" "$target" | head -c "$length" >>"$work/patched" ;;
      data) tail -c "+$((offset + 1))" "$1/data" | head -c "$length" >>"$work/patched" ;;
    esac
  done <"$1/steps"
  touch -r "$1/data" "$work/patched"
  mv -f "$work/patched" "$target"
}

# --- history ---------------------------------------------------------------------------------------------------------

add_bundles() {
  for id in $chain; do
    fetch "$id" bundle
    if [ -z "$file" ]; then continue; fi
    quiet_git --git-dir "$git_dir" bundle unbundle "$file" >/dev/null || fail "git does not take the bundle of $id" "look for another copy of the store"
    # Its header lists every ref as it was; `git bundle list-heads` prints the same.
    sed -n '/^$/q;s/^\([0-9a-f]\{40,64\}\) \(refs\/.*\)$/\1 \2/p' "$file" >"$work/refs"
    rm -f "$work/joined"
  done
}

set_refs() {
  [ -s "$work/refs" ] || return 0
  cut -d' ' -f1 "$work/refs" | quiet_git --git-dir "$git_dir" cat-file --batch-check='%(objectname) %(objecttype)' | awk '$2 == "missing" { print $1 }' >"$work/missing"
  awk -v list="$work/missing" 'BEGIN { while ((getline oid < list) > 0) missing[oid] = 1 } !($1 in missing) { print "create " $2 " " $1 }' "$work/refs" >"$work/updates"
  symrefs=$stage/git/holdfast-symrefs
  if [ -f "$symrefs" ]; then
    awk -v list="$symrefs" 'BEGIN { while ((getline line < list) > 0) { split(line, part, " "); symbolic[part[1]] = 1 } } !($2 in symbolic)' "$work/updates" >"$work/direct"
    mv "$work/direct" "$work/updates"
  fi
  quiet_git --git-dir "$git_dir" update-ref --stdin <"$work/updates"
  if [ -f "$symrefs" ]; then
    while read -r name target; do
      case $name in refs/*) quiet_git --git-dir "$git_dir" symbolic-ref "$name" "$target" ;; esac
    done <"$symrefs"
  fi
  if [ -s "$work/missing" ]; then say "note: some refs point to objects that the point does not hold; they are left out"; fi
}

# --- configuration: only what cannot run a command -------------------------------------------------------------------

harmless='^(core\.(repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|precomposeunicode|symlinks|autocrlf|eol|safecrlf|sparsecheckout|sparsecheckoutcone)|extensions\.(objectformat|partialclone|worktreeconfig)|user\.(name|email)|remote\..*\.(url|pushurl|fetch|push|tagopt|prune|mirror|promisor|partialclonefilter)|branch\..*\.(remote|pushremote|merge|rebase|description)|submodule\..*\.(url|active|branch))$'

is_harmless() {
  git config --file "$1" --no-includes --name-only --list >"$work/keys" 2>/dev/null || return 1
  if grep -Eiqv "$harmless" "$work/keys"; then return 1; fi
  ! git config --file "$1" --no-includes --list | grep -Eiq '(url|pushurl)=((ext|fd)::|-)'
}

# Keeps a file of a git directory beside, out of git's sight: keep_inert GIT_DIR PATH
keep_inert() {
  mkdir -p "$(dirname "$git_dir/holdfast-restored/$2")"
  cp -pR "$1/$2" "$git_dir/holdfast-restored/$2"
}

set_config() {
  captured=$stage/git/config
  if [ -d "$stage/git/hooks" ] && [ ! -L "$stage/git/hooks" ]; then keep_inert "$stage/git" hooks; fi
  if [ -L "$captured" ] || [ ! -f "$captured" ]; then return 0; fi
  keep_inert "$stage/git" config
  if is_harmless "$captured"; then
    cp "$captured" "$git_dir/config"
    return 0
  fi
  harmless_settings "$captured" | grep -Eiv '^(core\.(repositoryformatversion|bare)|extensions\.)' | add_settings "$git_dir/config"
  say "note: settings that can run commands are kept in .git/holdfast-restored/config"
}

harmless_settings() { git config --file "$1" --no-includes --list | grep -Ei "${harmless%\$}=" | grep -Eiv '(url|pushurl)=((ext|fd)::|-)'; }

add_settings() { while IFS= read -r setting; do git config --file "$1" --add "${setting%%=*}" "${setting#*=}" || :; done; }

# Repositories within the files, and those of their submodules, the deepest first: find_nested DIR ACTION
find_nested() {
  within=$1
  shift
  find "$within" -mindepth 1 -depth \( -type d -iname .git -o ! -type d -ipath '*/.git/modules/*/head' \) "$@"
}

# What can run commands in a repository within the files waits in a folder beside; harmless settings stay.
# The folders of a repository may be symlinks: then the link goes, and what it leads to is not touched.
# A .git that is a file or a symlink leads to a repository elsewhere: it gets a name that git does not look for.
tame_nested() {
  # shellcheck disable=SC2016
  find "$1" -mindepth 1 ! -type d -iname .git -exec sh -c 'for link; do rm -rf "$link.holdfast-restored"; mv "$link" "$link.holdfast-restored"; done' sh {} +
  # shellcheck disable=SC2016
  find_nested "$1" -exec sh -c '
    for repository; do
      if [ -L "$repository" ] || [ ! -d "$repository" ]; then repository=${repository%/*}; fi
      aside=$repository/holdfast-restored
      if [ -L "$aside" ]; then rm "$aside"; fi
      mkdir -p "$aside"
      for name in config config.worktree commondir; do
        if [ -e "$repository/$name" ] || [ -L "$repository/$name" ]; then mv "$repository/$name" "$aside/$name"; fi
      done
      if [ -L "$repository/hooks" ]; then mv "$repository/hooks" "$aside/hooks"; fi
      for hook in "$repository"/hooks/*; do
        case $hook in *.sample | */\*) continue ;; esac
        mkdir -p "$aside/hooks"
        mv "$hook" "$aside/hooks/"
      done
      rmdir "$aside" 2>/dev/null || :
    done' sh {} +
  find_nested "$1" -print >"$work/nested"
  while IFS= read -r nested; do
    if [ -L "$nested" ] || [ ! -d "$nested" ]; then nested=${nested%/*}; fi
    captured=$nested/holdfast-restored/config
    if [ -L "$captured" ] || [ ! -f "$captured" ]; then continue; fi
    if is_harmless "$captured"; then
      mv "$captured" "$nested/config"
      rmdir "$nested/holdfast-restored" 2>/dev/null || :
    else
      harmless_settings "$captured" | add_settings "$nested/config"
    fi
  done <"$work/nested"
}

# The .git files of submodules get their name again: set_git_files DIR ROOT; DIR is what will be laid over ROOT
set_git_files() {
  find "$1" -mindepth 2 -type f -name .git.holdfast-restored >"$work/leads"
  while IFS= read -r aside; do
    link=${aside%.holdfast-restored}
    if [ ! -e "$link" ] && [ ! -L "$link" ] && leads_to_module "$1" "$2" "${link#"$1"/}" "$aside"; then mv "$aside" "$link"; fi
  done <"$work/leads"
  if [ -n "$(find "$1" -name .git.holdfast-restored | head -n 1)" ]; then
    say "note: files and links named .git that lead to a repository elsewhere are kept as .git.holdfast-restored"
  fi
}

# True where the file $4, as the .git at $3, leads to .git/modules of ROOT or of a repository in DIR, through real folders.
leads_to_module() {
  lead=$(head -c 4096 "$4")
  printf '%s\n' "$lead" >"$work/lead"
  [ "$(sum_of "$work/lead")" = "$(sum_of "$4")" ] || return 1
  case $lead in "gitdir: "?*) lead=${lead#gitdir: } ;; *) return 1 ;; esac
  above=/${3%/*}
  while [ "$lead" != "${lead#../}" ]; do
    [ -n "$above" ] || return 1
    lead=${lead#../}
    above=${above%/*}
  done
  case /$lead/ in */../* | */./* | *//*) return 1 ;; esac
  place=${above#/}${above:+/}$lead
  case $place in
    .git/modules/?*) within=$2 ;;
    */.git/modules/?*) within=$1 ;;
    *) return 1 ;;
  esac
  [ -d "$within/$place" ] && is_inside "$within" "$place/HEAD"
}

# Submodules: their repositories lie in the git directory. Of the configuration the harmless settings come back.
set_module_configs() {
  [ -d "$stage/git/modules" ] || return 0
  (cd "$stage/git" && find modules -type f -name config) >"$work/modules"
  while IFS= read -r captured; do
    module=${captured%/config}
    if [ ! -f "$git_dir/$module/HEAD" ] || ! is_inside "$git_dir" "$captured"; then continue; fi
    keep_inert "$stage/git" "$captured"
    harmless_settings "$stage/git/$captured" | add_settings "$git_dir/$captured"
  done <"$work/modules"
}

# --- files -----------------------------------------------------------------------------------------------------------

# Every folder of FROM is a real folder in TO, or is not there yet: check_folders FROM TO
check_folders() {
  # shellcheck disable=SC2016
  (cd "$1" && find . -type d -exec sh -c 'to=$0; for d; do if [ -L "$to/$d" ] || { [ -e "$to/$d" ] && [ ! -d "$to/$d" ]; }; then exit 1; fi; done' "$2" {} +) ||
    distrust "the point wants to write through something that is not a folder"
}

# Copies a staged folder over another one, never through a symlink: overlay FROM TO
overlay() {
  [ -d "$1" ] || return 0
  check_folders "$1" "$2"
  (cd "$1" && tar --format=pax -cf - .) | (cd "$2" && tar -xpf - --no-same-owner)
}

# One worktree: worktree PREFIX ROOT GIT_DIR; PREFIX is "" or worktrees/NAME/
worktree() {
  root=$2
  for area in untracked modified folder; do
    if [ -d "$stage/$1$area" ] && [ -n "$(find "$stage/$1$area" -mindepth 1 -maxdepth 1 -iname .git)" ]; then distrust "the point wants to write into .git"; fi
  done
  # Nothing in a nested .git is tracked, and a folder is one.
  if [ -d "$stage/$1modified" ] && [ -n "$(find "$stage/$1modified" -iname .git | head -n 1)" ]; then distrust "the point wants to write into .git"; fi
  if [ -d "$stage/$1folder" ] && [ -n "$(find "$stage/$1folder" ! -type d | head -n 1)" ]; then distrust "the point holds something that no backup writes"; fi
  if [ -f "$3/index" ]; then
    # git writes what an index names wherever that leads.
    quiet_git --git-dir "$3" --work-tree "$root" ls-files -z >"$work/tracked" || fail "git does not read the index" "try an older point: sh restore.sh --list"
    check_names "$work/tracked"
    if tr '\0' '\n' <"$work/tracked" | grep -Eiq '(^|/)\.git(/|$)'; then distrust "the point wants to write into .git"; fi
    # As the blobs are: info/attributes comes last and wins. Exit 1 only names paths in conflict.
    mkdir -p "$git_dir/info"
    if [ -f "$git_dir/info/attributes" ]; then mv "$git_dir/info/attributes" "$work/attributes"; fi
    say '* -text -crlf -eol -ident -filter -working-tree-encoding' >"$git_dir/info/attributes"
    (cd "$root" && quiet_git --git-dir "$3" --work-tree "$root" -c core.autocrlf=false -c core.eol=lf checkout-index -q -a -f 2>/dev/null) || :
    rm "$git_dir/info/attributes"
    if [ -f "$work/attributes" ]; then mv "$work/attributes" "$git_dir/info/attributes"; fi
  fi
  absent=$stage/${1}git/holdfast-absent
  if [ -f "$absent" ]; then
    check_names "$absent"
    remove_listed "$root" "$absent"
  fi
  if [ -d "$stage/${1}untracked" ]; then
    tame_nested "$stage/${1}untracked"
    set_git_files "$stage/${1}untracked" "$root"
  fi
  overlay "$stage/${1}folder" "$root"
  # A tracked path that is of another kind now must make way.
  if [ -d "$stage/${1}modified" ]; then
    check_folders "$stage/${1}modified" "$root"
    # shellcheck disable=SC2016
    (cd "$stage/${1}modified" && find . ! -type d -exec sh -c 'to=$0; for f; do if [ -d "$to/$f" ] && [ ! -L "$to/$f" ]; then rmdir "$to/$f" 2>/dev/null || :; fi; done' "$root" {} +)
  fi
  overlay "$stage/${1}modified" "$root"
  overlay "$stage/${1}untracked" "$root"
}

# Modes and times of what git gave back, and of folders; of several records of a path the last one counts.
set_times() {
  [ -f "$work/times" ] || return 0
  cat >"$work/settle.sh" <<'SETTLE'
main=$1
shift
last=
for record; do
  type=${record%% *}; rest=${record#* }
  mode=${rest%% *}; rest=${rest#* }
  time=${rest%% *}; entry=${rest#* }
  case /$entry/ in */../*) continue ;; esac
  root=$main
  prefix=
  case $entry in worktrees/*) name=${entry#worktrees/}; name=${name%%/*}; root=$main.worktrees/$name; prefix=worktrees/$name/; entry=${entry#worktrees/*/} ;; esac
  path=${entry#*/}
  # Modified or untracked since: its mode and time came with its bytes.
  if [ "$type" != D ]; then
    newer=no
    for area in modified untracked; do if [ -e "$stage/$prefix$area/$path" ] || [ -L "$stage/$prefix$area/$path" ]; then newer=yes; fi; done
    if [ "$newer" = yes ]; then continue; fi
  fi
  file=$root/$path
  safe=yes
  if [ "${file%/*}" != "$last" ]; then
    above=$path
    while [ "$above" != "${above%/*}" ]; do above=${above%/*}; if [ -L "$root/$above" ]; then safe=no; fi; done
    if [ "$safe" = yes ]; then last=${file%/*}; else last=; fi
  fi
  [ "$safe" = yes ] || continue
  case $type in
    L) if [ -L "$file" ]; then touch -h -d "@$time" "$file"; fi ;;
    F) if [ -f "$file" ] && [ ! -L "$file" ]; then chmod "$mode" "$file"; touch -d "@$time" "$file"; fi ;;
    D) if [ -d "$file" ] && [ ! -L "$file" ]; then chmod "$mode" "$file"; touch -d "@$time" "$file"; fi ;;
  esac
done
SETTLE
  if ! touch -d @1.5 "$work/probe" 2>/dev/null; then
    say "note: this system's touch cannot set exact times; tracked files and folders have today's"
    return 0
  fi
  export stage
  xargs -0 -n 200 sh "$work/settle.sh" "$dir" <"$work/times"
}

# --- the run ---------------------------------------------------------------------------------------------------------

store=$(cd "$(dirname "$0")" && pwd)
check_tools
usage='sh restore.sh [--list] [--identity FILE] [POINT|latest] [DIR]'
while [ $# -gt 0 ]; do
  case $1 in
    --list)
      list_points
      exit 0
      ;;
    --identity)
      [ -n "${2-}" ] || fail "--identity needs a file" "$usage"
      identity=$2
      shift
      ;;
    --identity=?*) identity=${1#--identity=} ;;
    -h | --help)
      say "$usage"
      exit 0
      ;;
    -*) fail "$1 is not understood" "$usage" ;;
    *) break ;;
  esac
  shift
done
point=$(find_point "${1:-latest}")
if [ -n "${2-}" ]; then
  mkdir -p "$2" || fail "cannot make the folder $2"
  dir=$(cd "$2" && pwd)
else
  dir=$(mktemp -d "${TMPDIR:-/tmp}/restored-XXXXXX")
fi
[ -z "$(ls -A "$dir")" ] || fail "$dir is not empty" "name a new folder: sh restore.sh $point NEW-FOLDER"
if [ -e "$dir.worktrees" ] && [ -n "$(ls -A "$dir.worktrees")" ]; then fail "$dir.worktrees is not empty" "name another folder: sh restore.sh $point NEW-FOLDER"; fi
work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-XXXXXX")
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
stage=$work/stage
mkdir "$stage"

chain=$(chain_of "$point")
say "Point $point, from $(printf '%s' "$chain" | wc -w | tr -d ' ') points."
for id in $chain; do unpack "$id"; done
if [ -n "$(find "$stage" ! -type d ! -type f ! -type l | head -n 1)" ]; then distrust "the point holds something that no backup writes"; fi

bare=
if [ -f "$stage/git/config" ] && [ "$(git config --file "$stage/git/config" --no-includes core.bare || :)" = true ]; then bare=--bare; fi
format=sha1
for id in $chain; do
  fetch "$id" bundle
  if [ -z "$file" ]; then continue; fi
  if head -c 100 "$file" | grep -aq '^@object-format=sha256'; then format=sha256; fi
  rm -f "$work/joined"
  break
done
quiet_git -c init.defaultBranch=main init -q ${bare:+"$bare"} --template= --object-format="$format" "$dir"
git_dir=$dir/.git
if [ -n "$bare" ]; then git_dir=$dir; fi
if [ -f "$stage/git/shallow" ]; then cp "$stage/git/shallow" "$git_dir/shallow"; fi
: >"$work/refs"
add_bundles
set_refs
for forbidden in objects refs packed-refs reftable commondir gitdir; do
  if [ -e "$stage/git/$forbidden" ] || [ -L "$stage/git/$forbidden" ]; then distrust "the point wants to write .git/$forbidden"; fi
done
set_config
if [ -d "$stage/git" ]; then
  mkdir "$work/plain"
  (cd "$stage/git" && tar --format=pax -cf - --exclude=./config --exclude=./config.worktree --exclude=./hooks --exclude='./holdfast-*' --exclude='./modules/*/config' --exclude='./modules/*/hooks' --exclude='./modules/*/config.worktree' --exclude='./modules/*/commondir' --exclude='./worktrees/*/gitdir' --exclude='./worktrees/*/commondir' --exclude='./worktrees/*/config.worktree' .) |
    (cd "$work/plain" && tar -xpf - --no-same-owner)
  if [ -n "$(find "$work/plain" -type l | head -n 1)" ]; then find "$work/plain" -type l -exec rm -f {} +; fi
  tame_nested "$work/plain"
  overlay "$work/plain" "$git_dir"
  set_module_configs
fi
if [ -z "$bare" ]; then worktree "" "$dir" "$git_dir"; fi

names=
if [ -f "$work/times" ]; then names=$(tr '\0' '\n' <"$work/times" | sed -n 's,^[FDL] [0-7]* [^ ]* worktrees/\([^/]*\)/.*,\1,p' | sort -u); fi
if [ -d "$git_dir/worktrees" ]; then
  for admin in "$git_dir"/worktrees/*; do
    name=${admin##*/}
    case "
$names
" in
      *"
$name
"*) ;;
      *) rm -rf "$admin"; continue ;;
    esac
    mkdir -p "$dir.worktrees/$name"
    say "$dir.worktrees/$name/.git" >"$admin/gitdir"
    say "../.." >"$admin/commondir"
    say "gitdir: $admin" >"$dir.worktrees/$name/.git"
    worktree "worktrees/$name/" "$dir.worktrees/$name" "$admin"
    say "Linked worktree: $dir.worktrees/$name"
  done
fi
set_times

say "Restored into $dir"
if ! quiet_git --git-dir "$git_dir" fsck --connectivity-only --no-dangling 2>"$work/fsck" >&2; then
  say "note: git fsck has something to say:"
  head -n 20 "$work/fsck"
fi
if [ -n "$(ls -A "$git_dir/holdfast-restored/hooks" 2>/dev/null)" ]; then
  say "Hooks of the old repository wait in $git_dir/holdfast-restored/hooks; to take one over: cp -p it into $git_dir/hooks"
fi
