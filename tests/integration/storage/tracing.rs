//! The trace contexts of open notifications, as read by a settling and by the dispatcher.

use super::world::{World, story};
use domain::TraceContext;

story! {
    async fn a_settling_belongs_to_the_traces_of_its_notifications(world: World) {
        let key = world.key("r");
        assert_eq!(world.store.settling_trace(key).await.unwrap(), None);
        let traces: Vec<TraceContext> =
            (1..=3).map(|number| TraceContext::new(9, number, true).unwrap()).collect();
        for (number, trace) in traces.iter().enumerate() {
            let message = format!("m{number}");
            world.notify(&message, "r", i64::try_from(number).unwrap()).await;
            let update = "UPDATE notifications SET traceparent";
            world.raw().run(&format!("{update} = '{trace}' WHERE message_id = '{message}'"));
        }
        // One was accepted while tracing was off; no version of settle wrote the other.
        for (message, at, text) in [("untraced", 8, "NULL"), ("foreign", 9, "'ff-1-2-3'")] {
            world.notify(message, "r", at).await;
            world.raw().run(&format!("UPDATE notifications SET traceparent = {text} WHERE message_id = '{message}'"));
        }

        let found = world.store.settling_trace(key).await.unwrap().unwrap();
        assert_eq!((&found.contexts, found.settling), (&traces, 1));
        assert!(found.began_at <= world.store.now().await.unwrap());
        let open = world.store.open_after(0, 10).await.unwrap();
        let contexts: Vec<Option<TraceContext>> = open.iter().map(|row| row.trace).collect();
        assert_eq!(contexts, [Some(traces[0]), Some(traces[1]), Some(traces[2]), None, None]);
        let newest = world.store.newest_open_before(i64::MAX, 10).await.unwrap();
        assert_eq!(newest.len(), 1);

        world.settle(key).await;
        assert_eq!(world.store.settling_trace(key).await.unwrap(), None, "the rows have none once they are settled");
        world.notify("later", "r", 20).await;
        assert_eq!(world.store.settling_trace(key).await.unwrap().unwrap().settling, 2);
    }
}
