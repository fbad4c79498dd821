//! The page can do nothing that the API cannot.

use api::route::Access;
use api::routes::routes;

#[test]
fn each_change_of_the_page_is_one_of_the_api() {
    let (all, pages) = (routes(), pages::routes());
    let mut changes = 0;
    for page in pages.iter().filter(|route| route.method != "GET") {
        changes += 1;
        let twin = page
            .twin
            .unwrap_or_else(|| panic!("{} {} has no twin", page.method, page.path));
        let (method, path) = twin.split_once(' ').expect("a method and a path");
        let found = all
            .iter()
            .find(|route| route.method == method && route.path == path);
        let found = found.unwrap_or_else(|| panic!("{}: there is no {twin}", page.path));
        if page.access == Access::Admin {
            assert_eq!(
                page.least, found.least,
                "{} needs the role of {twin}",
                page.path
            );
            assert_eq!(page.is_query, found.is_query, "{}", page.path);
        }
    }
    assert!(changes >= 9, "{changes}");
    assert!(
        pages
            .iter()
            .all(|route| matches!(route.method, "GET" | "POST")),
        "forms know no other"
    );
}
